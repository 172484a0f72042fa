from itertools import pairwise

import pytest
from fake_clock import FakeClock

from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduConfigurationError,
    YeeduConflict,
    YeeduError,
    YeeduNotFound,
    YeeduRateLimited,
    YeeduServerError,
    YeeduTransportError,
    YeeduUnexpectedAnswer,
)
from prefect_yeedu.failures import Failure, classify, may_have_acted
from prefect_yeedu.retry_policy import ONCE, Deadline, PollSchedule, RetryPolicy


def looks_at(clock: FakeClock, until: float) -> list[float]:
    schedule = PollSchedule(clock)
    looks = [0.0]
    while clock.time < until:
        clock.sleep(schedule.next_wait_seconds())
        looks.append(clock.time)
    return looks


@pytest.mark.parametrize(
    ("ends_at", "late"), [(0.5, 0.126), (2.0, 0.126), (5, 1.3), (30, 9.0), (60, 13.1), (3600, 13.1)]
)
def test_an_end_is_noticed_soon_in_proportion(ends_at: float, late: float) -> None:
    looks = looks_at(FakeClock(), ends_at + 20)
    assert max(next(look for look in looks if look >= end) - end for end in [ends_at, ends_at * 0.97]) <= late


def test_an_hour_is_300_looks_that_come_6_seconds_late_on_average() -> None:
    looks = looks_at(FakeClock(), 3600)
    gaps = [later - sooner for sooner, later in pairwise(looks)]
    assert len(looks) < 310
    assert sum(gap**2 for gap in gaps) / 2 / sum(gaps) <= 6.5


def test_waits_double_with_jitter_up_to_the_longest() -> None:
    trial = RetryPolicy(attempts=None, first_wait_seconds=1.0, max_wait_seconds=8.0).start(FakeClock())
    for full in [1.0, 2.0, 4.0, 8.0, 8.0]:
        wait_seconds = trial.fail(YeeduTransportError("x"))
        assert wait_seconds is not None
        assert 0.75 * full <= wait_seconds <= full


@pytest.mark.parametrize(("asked", "waited"), [(7, 7), (86_400, 60)])
def test_retry_after_is_obeyed_up_to_a_minute(asked: float, waited: float) -> None:
    error = YeeduServerError("x", status=503, retry_after_seconds=asked)
    assert RetryPolicy().start(FakeClock()).fail(error) == waited


def test_attempts_are_calls_in_total() -> None:
    trial = RetryPolicy(attempts=3).start(FakeClock())
    assert [trial.fail(YeeduTransportError("x")) is None for _ in range(3)] == [False, False, True]
    assert ONCE.start(FakeClock()).fail(YeeduTransportError("x")) is None


def test_a_budget_limits_failures_in_a_row() -> None:
    clock = FakeClock()
    trial = RetryPolicy(attempts=None, budget_seconds=100.0).start(clock)
    assert trial.fail(YeeduTransportError("x")) is not None
    clock.sleep(99.9)
    assert trial.fail(YeeduTransportError("x")) is None
    trial.succeed()
    assert trial.fail(YeeduTransportError("x")) is not None


def test_only_transient_failures_are_waited_for() -> None:
    clock = FakeClock()
    with pytest.raises(YeeduNotFound):
        RetryPolicy().start(clock).wait(YeeduNotFound("x", status=404), "about run 9")
    assert clock.time == 0.0


@pytest.mark.parametrize(
    ("error", "failure", "acted"),
    [
        (YeeduTransportError("x", was_sent=True), Failure.TRANSIENT, True),
        (YeeduTransportError("x", was_sent=False), Failure.TRANSIENT, False),
        (YeeduServerError("x", status=500), Failure.TRANSIENT, True),
        (YeeduServerError("x", status=503, is_from_yeedu=False), Failure.TRANSIENT, True),
        (YeeduUnexpectedAnswer("x", status=404, is_from_yeedu=False), Failure.TRANSIENT, True),
        (YeeduRateLimited("x", status=429), Failure.TRANSIENT, False),
        (YeeduRateLimited("x", status=429, is_from_yeedu=False), Failure.TRANSIENT, False),
        (YeeduNotFound("x", status=404), Failure.GONE, False),
        (YeeduConflict("x", status=409), Failure.REFUSED, False),
        (YeeduAPIError("x", status=400), Failure.REFUSED, False),
        (YeeduAuthenticationError("x", status=403), Failure.REFUSED, False),
        (YeeduAuthenticationError("x", status=401), Failure.EXPIRED, False),
        (YeeduAuthenticationError("x", status=400, code="RFA-000001"), Failure.EXPIRED, False),
        (YeeduConfigurationError("x"), Failure.OURS, False),
    ],
)
def test_failures_are_sorted_by_what_they_show(error: YeeduError, failure: Failure, acted: bool) -> None:
    assert classify(error) is failure
    assert may_have_acted(error) is acted
    error.is_before_call = True
    assert not may_have_acted(error)


def test_a_deadline_shortens_waits_and_passes() -> None:
    clock = FakeClock()
    deadline = Deadline.after(clock, 5)
    clock.sleep(4)
    assert (deadline.limit(10), deadline.has_passed) == (1, False)
    clock.sleep(2)
    assert (deadline.limit(10), deadline.has_passed) == (0, True)
    assert not Deadline.after(clock, None).has_passed
    assert Deadline.after(clock, None).limit(10) == 10
