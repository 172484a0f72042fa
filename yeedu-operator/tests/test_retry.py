from itertools import pairwise

import pytest
from fake_clock import FakeClock

from prefect_yeedu.errors import YeeduNotFound, YeeduRateLimited, YeeduServerError, YeeduTransportError
from prefect_yeedu.wire.retry import Deadline, PollSchedule, RetryPolicy, retry_reason


def looks_at(clock: FakeClock, until: float) -> list[float]:
    schedule = PollSchedule(clock)
    looks = [0.0]
    while clock.time < until:
        clock.sleep(schedule.next_wait_seconds())
        looks.append(clock.time)
    return looks


@pytest.mark.parametrize(
    ("ends_at", "late"), [(0.5, 0.126), (2.0, 0.126), (5, 1.3), (30, 9.0), (60, 10.1), (3600, 10.1)]
)
def test_an_end_is_noticed_soon_in_proportion(ends_at: float, late: float) -> None:
    looks = looks_at(FakeClock(), ends_at + 20)
    assert max(next(look for look in looks if look >= end) - end for end in [ends_at, ends_at * 0.97]) <= late


def test_an_hour_is_fewer_than_400_looks_that_come_5_seconds_late_on_average() -> None:
    looks = looks_at(FakeClock(), 3600)
    gaps = [later - sooner for sooner, later in pairwise(looks)]
    assert len(looks) < 400
    assert sum(gap**2 for gap in gaps) / 2 / sum(gaps) <= 5.0


def test_waits_double_with_jitter_up_to_the_longest() -> None:
    policy = RetryPolicy(first_wait_seconds=1.0, max_wait_seconds=8.0)
    for failures, full in [(1, 1.0), (2, 2.0), (4, 8.0), (5, 8.0), (10_000, 8.0)]:
        assert 0.75 * full <= policy.wait_seconds(failures, YeeduTransportError("x")) <= full


def test_retry_after_is_obeyed_up_to_a_minute() -> None:
    policy = RetryPolicy()
    assert policy.wait_seconds(1, YeeduServerError("x", status=503, retry_after_seconds=7)) == 7
    assert policy.wait_seconds(1, YeeduServerError("x", status=503, retry_after_seconds=86_400)) == 60


@pytest.mark.parametrize(
    ("error", "repeatable", "other"),
    [
        (YeeduTransportError("x", was_sent=True), True, False),
        (YeeduTransportError("x", was_sent=False), True, True),
        (YeeduServerError("x", status=500), True, False),
        (YeeduRateLimited("x", status=429), True, True),
        (YeeduNotFound("x", status=404), False, False),
    ],
)
def test_only_what_is_safe_is_repeated(error: YeeduTransportError, repeatable: bool, other: bool) -> None:
    assert bool(retry_reason(error, is_repeatable=True)) is repeatable
    assert bool(retry_reason(error, is_repeatable=False)) is other


def test_a_deadline_shortens_waits_and_passes() -> None:
    clock = FakeClock()
    deadline = Deadline.after(clock, 5)
    clock.sleep(4)
    assert (deadline.limit(10), deadline.has_passed) == (1, False)
    clock.sleep(2)
    assert (deadline.limit(10), deadline.has_passed) == (0, True)
    assert not Deadline.after(clock, None).has_passed
    assert Deadline.after(clock, None).limit(10) == 10
