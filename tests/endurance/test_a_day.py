"""A day of the default deployments: nothing leaks, nothing is lost, and the database stays small."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.endurance.curves import draw, growth
from tests.endurance.day import HOURS, SCALE, TICK_SECONDS, TICKS, Day
from tests.endurance.samples import POSTGRES, TABLES, Samples, sample_the_day
from tests.platforms import OUTPUT, SERVICES, brought_up, copy_checkout

# Whose memory and open files may not grow.
_LASTING = [POSTGRES if service == "postgres" else service for service in SERVICES]

pytestmark = [pytest.mark.docker, pytest.mark.timeout(HOURS * 3600 / SCALE + 900)]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """The platform, up, with its schedules at the day's pace."""
    checkout = tmp_path_factory.mktemp("endurance") / "yeedu-prefect"
    copy_checkout(checkout)
    day = Day(checkout)
    day.prepare()
    with brought_up(day, "endurance.log", lines=2000):
        yield day


@pytest.fixture(scope="module")
def ticking(day: Day) -> set[str]:
    """The deployments whose schedules tick."""
    return day.begin()


@pytest.fixture(scope="module")
def samples(day: Day, ticking: set[str]) -> Samples:
    """The whole day's curves."""
    samples = sample_the_day(day)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "endurance.json").write_text(samples.written(), encoding="utf-8")
    draw(samples, OUTPUT / "endurance.png")
    return samples


def test_every_tick_of_every_deployment_ran_once_and_completed(
    day: Day, ticking: set[str], samples: Samples
) -> None:
    expected = {(deployment, tick) for deployment in ticking for tick in range(TICKS)}
    ran = Counter(
        (run.deployment, round((run.due - day.began) / TICK_SECONDS)) for run in samples.runs.values()
    )
    assert Counter(tick for deployment, tick in expected if ran[deployment, tick] > 1) == {}, "ran twice"
    assert Counter(tick for deployment, tick in expected if not ran[deployment, tick]) == {}, "not ended"
    assert {run.state for run in samples.runs.values()} == {"COMPLETED"}


def _growth(samples: Samples, what: str, service: str) -> tuple[float, float]:
    # The largest connection is the one that has grown for the longest time.
    of_an_hour = max if service == POSTGRES else min
    return growth(samples.hours, samples.curves[what][service], of_an_hour)


@pytest.mark.parametrize("service", _LASTING)
def test_memory_is_flat(samples: Samples, service: str) -> None:
    grown, usual = _growth(samples, "memory", service)
    assert grown < max(8.0, 0.05 * usual), f"{grown:.1f} MB more than {usual:.0f} MB"


@pytest.mark.parametrize(
    ("what", "service"),
    [*(("processes", service) for service in SERVICES), *(("open files", service) for service in _LASTING)],
)
def test_processes_and_open_files_are_flat(samples: Samples, what: str, service: str) -> None:
    grown, usual = _growth(samples, what, service)
    assert grown < max(1.0, 0.05 * usual), f"{grown:.1f} more than {usual:.0f}"


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_bounded_by_retention(samples: Samples, table: str) -> None:
    grown, usual = growth(samples.hours, samples.curves["rows"][table])
    assert grown < max(10.0, 0.1 * usual), f"{grown:.0f} more than {usual:.0f}"


def test_database_is_bounded_by_retention(samples: Samples) -> None:
    grown, usual = growth(samples.hours, samples.curves["database"]["size"])
    assert grown < 0.1 * usual, f"{grown:.1f} MB more than {usual:.0f} MB"
