"""Start a remote run exactly once, through lost answers and through crashes of this process.

The intent is recorded before Yeedu is asked, and the run's id before it is waited for. A submission carries a
key as a conf entry; whoever cannot know whether Yeedu accepted looks for the run with that key.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from prefect_yeedu.errors import (
    YeeduError,
    YeeduNotFound,
    YeeduServerError,
    YeeduSubmissionUnknown,
    YeeduTransportError,
)
from prefect_yeedu.retry import Deadline, PollSchedule, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_yeedu.api import RunAPI

logger = logging.getLogger(__name__)

KEY_NAME = "spark.yeedu.prefect_key"
# How long a submission whose answer was lost may take to show up in the list of runs.
SEARCH_SECONDS = 10.0
RESUBMISSION_POLICY = RetryPolicy(attempts=3, first_wait_seconds=0.5)


class Outcome(StrEnum):
    """How a run ended, as the one who waited for it saw."""

    SUCCESS = "success"
    FAILURE = "failure"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Record:
    """What is known about the run that a call stands for.

    Attributes:
        key: What its submission carries.
        is_new: Whether nobody can have submitted it yet.
        run_id: The remote run, once it is known.
        outcome: How it ended, once somebody saw that.
        exit_value: What the notebook passed to `dbutils.notebook.exit`, if it did.
    """

    key: str
    is_new: bool = True
    run_id: int | None = None
    outcome: Outcome | None = None
    exit_value: str | None = None


class Ledger:
    """Remembers runs; this one only as long as the call lasts."""

    def open(self) -> Record:
        """Record the intent to run something, or return what was recorded before."""
        return Record(key=uuid.uuid4().hex)

    def note_run(self, run_id: int, url: str) -> None:
        """Record the remote run."""

    def note_outcome(self, outcome: Outcome, state: str, *, exit_value: str | None = None) -> None:
        """Record how it ended."""


def submit_once(
    api: RunAPI,
    definition: int,
    record: Record,
    *,
    arguments: str | None = None,
    conf: Sequence[str] = (),
) -> int:
    """Return the id of the one run that a record stands for, starting it if there is none yet.

    Args:
        api: Calls about this kind of run.
        definition: The job or notebook.
        record: What is known so far.
        arguments: Given to the program.
        conf: Spark settings; the key is added.

    Raises:
        YeeduSubmissionUnknown: Whether there is a run cannot be found out.
        YeeduError: Yeedu refuses to run it.
    """
    if record.run_id is not None:
        return record.run_id
    if not record.is_new:
        found = find_submitted(api, definition, record.key)
        if found is not None:
            return found
    entries = [*conf, f"{KEY_NAME}={record.key}"] if api.routes.takes_conf else list(conf)
    for failures in range(1, RESUBMISSION_POLICY.attempts + 1):
        try:
            return api.submit(definition, arguments=arguments, conf=entries)
        except YeeduError as error:
            if not may_have_been_accepted(error):
                raise
            failure = error
        found = find_submitted(api, definition, record.key)
        if found is not None:
            return found
        if failures == RESUBMISSION_POLICY.attempts:
            raise failure
        logger.info("Yeedu has no run with the key %s; submitting again after: %s", record.key, failure)
        api.client.clock.sleep(RESUBMISSION_POLICY.wait_seconds(failures, failure))
    raise AssertionError("the policy allows at least one attempt")


def may_have_been_accepted(error: YeeduError) -> bool:
    """Tell whether Yeedu may have started a run although it answered so, or not at all."""
    if isinstance(error, YeeduTransportError):
        return error.was_sent
    return isinstance(error, YeeduServerError)


def find_submitted(api: RunAPI, definition: int, key: str) -> int | None:
    """Return the run whose submission carried a key, or None when there certainly is none.

    Raises:
        YeeduSubmissionUnknown: The server cannot say.
    """
    if not api.routes.takes_conf:
        raise _unknown(api, definition, key, "this API generation cannot search for a submission")
    clock = api.client.clock
    deadline = Deadline.after(clock, SEARCH_SECONDS)
    schedule = PollSchedule(clock, min_seconds=0.25, max_seconds=2.0, share=0.5)
    while True:
        try:
            found = _search(api, definition, key)
        except YeeduError as error:
            raise _unknown(api, definition, key, str(error)) from None
        if found is not None or deadline.has_passed:
            return found
        clock.sleep(deadline.limit(schedule.next_wait_seconds()))


def _search(api: RunAPI, definition: int, key: str) -> int | None:
    """Look once; a list that leaves out the conf entries is completed run by run."""
    wanted = f"{KEY_NAME}={key}"
    for run in api.list_runs(definition):
        if run.run_id == 0:
            continue
        conf = run.conf
        if conf is None:
            try:
                conf = api.read(run.run_id).conf
            except YeeduNotFound:
                continue
        if conf is None:
            raise _unknown(api, definition, key, "its runs do not show their conf entries")
        if wanted in (entry.replace(" ", "") for entry in conf):
            return run.run_id
    return None


def _unknown(api: RunAPI, definition: int, key: str, reason: str) -> YeeduSubmissionUnknown:
    return YeeduSubmissionUnknown(
        f"It is not known whether Yeedu started {api.kind} {definition} ({reason}); look in Yeedu for a run "
        f"with the conf entry {KEY_NAME}={key}, and start it again only if there is none."
    )
