"""One compose platform for all faults, and the table of what was injected and what held."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.faults.stack import Stack, quiet

ALL = bool(os.environ.get("ALL_FAULTS"))
KILLS = int(os.environ.get("FAULT_KILLS", "3" if ALL else "1"))
OUTAGE_SECONDS = 60 * float(os.environ.get("FAULT_OUTAGE_MINUTES", "1"))
_LAST = (34, 32)  # the hunt for secrets looks at what all others left; a restore begins everything anew
_rows: dict[str, "Row"] = {}


@dataclass
class Row:
    """A line of the table, kept up to date by its test.

    Attributes:
        numbers: Of the faults, as docs/rescue.md counts them.
        injected: What was done to the platform.
        held: What was seen to hold.
        outcome: How the test ended.
    """

    numbers: tuple[int, ...]
    injected: str = ""
    held: list[str] = field(default_factory=list)
    outcome: str = "not run"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The platform, up, without schedules that start runs of their own."""
    with quiet(Stack, tmp_path_factory.mktemp("faults"), "faults.log") as up:
        yield up


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The test's line in the table; its numbers are the marker's."""
    return _rows.setdefault(request.node.nodeid, Row(_numbers(request.node)))


def _numbers(item: pytest.Item) -> tuple[int, ...]:
    marker = item.get_closest_marker("fault")
    assert marker is not None, "give the test its row: @pytest.mark.fault(2)"
    return marker.args


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless all are wanted, and put last what has to be."""
    faults = [item for item in items if item.get_closest_marker("fault")]
    wanted = [item for item in faults if ALL or item.get_closest_marker("short")]
    config.hook.pytest_deselected(items=[item for item in faults if item not in wanted])
    wanted.sort(key=lambda item: 1 + _LAST.index(number) if (number := _numbers(item)[0]) in _LAST else 0)
    place = next((index for index, item in enumerate(items) if item in faults), 0)
    others = [item for item in items if item not in faults]
    items[:] = [*others[:place], *wanted, *others[place:]]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note how each test ended."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    line = _rows.get(item.nodeid)
    if line and report.skipped:
        line.held.append(str(report.longrepr[2]))
    elif line and (report.when == "call" or report.failed):
        line.outcome = "held" if report.passed else "FAILED"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if not _rows:
        return
    terminalreporter.section("faults")
    for line in sorted(_rows.values(), key=lambda line: line.numbers):
        numbers = ", ".join(map(str, line.numbers))
        terminalreporter.write_line(f"{numbers:>6}  {line.outcome:<8} {line.injected}")
        for held in line.held:
            terminalreporter.write_line(f"{'':17}{held}")
