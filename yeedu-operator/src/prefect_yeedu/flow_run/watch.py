"""Resumes flow runs that are suspended until a remote run has ended: ``yeedu-watch``.

One process watches all of them: each round asks Prefect for the suspended flow runs and each Yeedu for their
runs, and resumes those whose runs have ended. All that it needs is stored, so any process can take over.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from prefect_yeedu.errors import (
    YeeduConfigurationError,
    YeeduError,
    YeeduPrefectError,
    YeeduPrefectUnavailable,
)
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.flow_run.deferred_runs import DeferredRun, find_deferred_runs, resume
from prefect_yeedu.flow_run.left_runs import stop_left_runs, write_log
from prefect_yeedu.flow_run.prefect_server import ask_prefect, iterate_flow_runs
from prefect_yeedu.flow_run.record_fields import BLOCK_FIELDS
from prefect_yeedu.flow_run.run_ends import RunEnds
from prefect_yeedu.retry_policy import ONCE, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from uuid import UUID

    from prefect_yeedu.retry_policy import Clock

    Place = tuple[str, ...]

logger = logging.getLogger("prefect_yeedu.watch")

SECONDS_SETTING = "YEEDU_WATCH_SECONDS"
FILE_SETTING = "YEEDU_WATCH_FILE"
DEFAULT_SECONDS = 5.0
_AT_ONCE = 8
_IDLE_SECONDS = 120.0
# A Yeedu that does not answer is asked again after the first pause, which then doubles up to a minute; one
# that refuses the login is left alone for longer, as it may lock the user out.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _REFUSED_PAUSE_SECONDS = 5.0, 60.0, 300.0


@dataclass
class _Yeedu:
    """One Yeedu that is asked in each round.

    Attributes:
        ends: The session.
        pause_seconds: How long it was left alone after the last failure; 0 while it answers.
        ask_at: When it is asked again, on the monotonic clock.
    """

    ends: RunEnds
    pause_seconds: float = 0.0
    ask_at: float = 0.0

    def fail(self, error: YeeduError, now: float) -> None:
        """Set the pause before Yeedu is asked again."""
        is_away = classify(error) is Failure.TRANSIENT
        longer = min(2 * self.pause_seconds or _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self.pause_seconds = longer if is_away else _REFUSED_PAUSE_SECONDS
        self.ask_at = now + self.pause_seconds


class Watch:
    """Watches the suspended flow runs, round by round.

    Args:
        clock: The source of time; None for the machine's clock.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._yeedus: dict[Place, _Yeedu] = {}
        self._watched: set[UUID] = set()
        self._told: dict[UUID, str] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._cleaners = ThreadPoolExecutor(1)  # stopping runs takes long, and must not hold up a round

    def poll(self) -> list[UUID]:
        """Check all suspended flow runs once, and return those that were resumed.

        Raises:
            YeeduPrefectError: The Prefect server does not answer, or refuses.
        """
        runs = find_deferred_runs()
        now_watched = {run.flow_run_id for run in runs}
        self._clear_up(self._watched - now_watched)
        self._watched = now_watched
        self._told = {flow_run: text for flow_run, text in self._told.items() if flow_run in now_watched}
        places = self._places(runs)
        for place in self._yeedus.keys() - places.keys():
            self._yeedus.pop(place).ends.close()
        asked = [
            self._pool.submit(copy_context().run, self._ask, place, some) for place, some in places.items()
        ]
        due = [run for answer in asked for run in answer.result()]
        return [run.flow_run_id for run in due if self._resume(run)]

    @property
    def is_busy(self) -> bool:
        """Whether the last poll found anything to watch."""
        return bool(self._watched)

    def close(self) -> None:
        """Log out of every Yeedu."""
        self._pool.shutdown()
        self._cleaners.shutdown(cancel_futures=True)
        for yeedu in self._yeedus.values():
            yeedu.ends.close()

    def _places(self, runs: Iterable[DeferredRun]) -> dict[Place, list[DeferredRun]]:
        """Group the runs by Yeedu, tenant and login; report those that cannot be checked."""
        places: dict[Place, list[DeferredRun]] = {}
        for run in runs:
            try:
                definition, run_id, _ = run.definition, run.run_id, run.generation
            except ValueError:
                definition = run_id = None
            if definition is None or run_id is None:
                self._tell(run, "its record is gone, or does not name it")
                continue
            who = (run.fields.get(name, "") for name in BLOCK_FIELDS)
            places.setdefault((definition.base_url, definition.tenant, *who), []).append(run)
        return places

    def _ask(self, place: Place, runs: list[DeferredRun]) -> list[DeferredRun]:
        """Return those of one Yeedu's runs whose wait is over."""
        over = [run for run in runs if run.is_over(time.time())]
        definition = runs[0].definition
        if place not in self._yeedus and definition is not None:
            self._yeedus[place] = _Yeedu(RunEnds(definition, runs[0].fields, self._clock))
        yeedu = self._yeedus[place]
        if self._clock.now() < yeedu.ask_at:
            return over
        rest = [run for run in runs if run not in over]
        try:
            ended = yeedu.ends.find(rest, lambda run, error: self._tell(run, str(error)))
        except YeeduError as error:
            if not yeedu.pause_seconds:
                logger.warning("retrying %s for %d runs: %s", place[0], len(rest), error)
            yeedu.fail(error, self._clock.now())
            return over
        if yeedu.pause_seconds:
            logger.info("%s answers again.", place[0])
        yeedu.pause_seconds = 0.0
        return [*over, *ended]

    def _resume(self, run: DeferredRun) -> bool:
        try:
            is_resumed = resume(run)
        except YeeduPrefectUnavailable as error:
            logger.warning("%s", error)
            return False
        except YeeduPrefectError as error:
            self._tell(run, str(error))
            return False
        if is_resumed:
            logger.info("Flow run %s goes on; Yeedu run %s is over.", run.flow_run_id, run.run_id)
        return is_resumed

    def _tell(self, run: DeferredRun, reason: str) -> None:
        """Log once, here and in the flow run's own log, why it stays suspended."""
        if self._told.get(run.flow_run_id) == reason:
            return
        self._told[run.flow_run_id] = reason
        text = (
            "This flow run is suspended for a Yeedu run, and is not resumed by itself "
            f"({reason.removesuffix('.')}); resume it by hand, or cancel it."
        )
        logger.warning("Flow run %s: %s", run.flow_run_id, text)
        try:
            write_log(run.flow_run_id, text, logging.WARNING)
        except YeeduPrefectError as error:
            logger.warning("%s", error)

    def _clear_up(self, flow_runs: set[UUID]) -> None:
        """Stop, in the background, the remote runs of flow runs that were cancelled while suspended."""
        if not flow_runs:
            return
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(flow_runs)))
        found = ask_prefect(
            lambda client: list(iterate_flow_runs(client, wanted)), "for flow runs that were suspended", ONCE
        )
        for flow_run in found:
            if flow_run.state is not None and flow_run.state.is_cancelled():
                self._cleaners.submit(copy_context().run, _stop_runs_of, flow_run.id)


def _stop_runs_of(flow_run_id: UUID) -> None:
    try:
        for sentence in stop_left_runs(flow_run_id):
            logger.info("Flow run %s: %s", flow_run_id, sentence)
    except (YeeduPrefectError, YeeduConfigurationError) as error:
        logger.warning("Flow run %s: %s", flow_run_id, error)


def watch_until(
    is_ended: threading.Event, seconds: float, file: Path | None = None, idle_seconds: float | None = None
) -> None:
    """Watch, round by round, until an event is set.

    Args:
        is_ended: Ends the watch when set.
        seconds: Time between two rounds.
        file: File to touch after each round, for a health check; None for no such file.
        idle_seconds: Also end the watch once there was nothing to watch for this long; None for never.

    Raises:
        YeeduPrefectError: The Prefect server refuses a call, for example because of a wrong login.
    """
    watch, is_away, busy_at = Watch(), False, time.monotonic()
    try:
        while not is_ended.is_set():
            try:
                watch.poll()
                is_away = False
                if watch.is_busy or idle_seconds is None:
                    busy_at = time.monotonic()
                elif time.monotonic() - busy_at > idle_seconds:
                    return
            except YeeduPrefectUnavailable as error:
                if not is_away:
                    logger.warning("%s", error)
                is_away = True
            if file is not None:
                file.touch()
            is_ended.wait(seconds)
    finally:
        watch.close()


def main() -> None:
    """Watch until the process is told to end."""
    parser = argparse.ArgumentParser(
        prog="yeedu-watch",
        description="Resume the flow runs that are suspended until a Yeedu run has ended (deferrable=True).",
    )
    parser.add_argument(
        "--seconds",
        default=os.environ.get(SECONDS_SETTING) or str(DEFAULT_SECONDS),
        help=f"between two rounds; default: {SECONDS_SETTING}, or {DEFAULT_SECONDS:g}",
    )
    parser.add_argument(
        "--until-idle",
        action="store_true",
        help=f"end when there was nothing to watch for {_IDLE_SECONDS:g} s",
    )
    given = parser.parse_args()
    text = given.seconds
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 60:
        parser.exit(2, f"{SECONDS_SETTING} is '{text}', but it is a number of seconds, from 0.1 to 60.\n")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    is_ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        is_ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    file = os.environ.get(FILE_SETTING)
    logger.info("Watching for suspended flow runs, every %g s.", seconds)
    idle_seconds = _IDLE_SECONDS if given.until_idle else None
    try:
        watch_until(is_ended, seconds, Path(file) if file else None, idle_seconds)
    except YeeduPrefectError as error:
        parser.exit(1, f"yeedu-watch: {error}\n")


if __name__ == "__main__":
    main()
