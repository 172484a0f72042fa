"""Start a remote run exactly once, through lost answers and through crashes of this process.

The intent is recorded before Yeedu is asked, and the run's id before it is waited for. A submission carries a
key as a conf entry; whoever cannot know whether Yeedu accepted looks for the run with that key. The first API
generation takes no conf entries, so there time and user have to tell.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduError, YeeduNotFound, YeeduSubmissionUnknown
from prefect_yeedu.failures import may_have_acted
from prefect_yeedu.patience import Deadline, Patience, PollSchedule
from prefect_yeedu.wire.answers import text_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from prefect_yeedu.client.api import RunAPI

logger = logging.getLogger(__name__)

KEY_NAME = "spark.yeedu.prefect_key"
# How long a submission whose answer was lost may take to show up in the list of runs.
SEARCH_SECONDS = 10.0
# By how much the clocks of the two machines may differ where only time tells runs apart.
CLOCK_SKEW_SECONDS = 10.0
RESUBMISSION = Patience(attempts=3, first_wait_seconds=0.5)


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
        intended_at: When the intent was recorded, in seconds since 1970.
    """

    key: str
    is_new: bool = True
    run_id: int | None = None
    outcome: Outcome | None = None
    exit_value: str | None = None
    intended_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class ClusterMove:
    """A definition that was moved to another cluster, and has to be moved back.

    Attributes:
        own_cluster: Where it belongs.
        cluster: Where it was moved.
        is_of_this_call: Whether an earlier attempt of the same call moved it.
    """

    own_cluster: int
    cluster: int
    is_of_this_call: bool = True


class Ledger:
    """Remembers runs; this one only as long as the call lasts."""

    def open(self) -> Record:
        """Record the intent to run something, or return what was recorded before."""
        return Record(key=uuid.uuid4().hex)

    def note_run(self, run_id: int, url: str) -> None:
        """Record the remote run."""

    def note_outcome(self, outcome: Outcome, state: str, *, exit_value: str | None = None) -> None:
        """Record how it ended."""

    def read_move(self) -> ClusterMove | None:
        """Return the cluster to which the definition was moved and from which it was not moved back."""
        return None

    def note_move(self, own_cluster: int, cluster: int) -> None:
        """Record that the definition is about to be moved."""

    def forget_move(self) -> None:
        """Record that it is where it belongs."""


def submit_once(
    api: RunAPI,
    definition: int,
    record: Record,
    *,
    arguments: str | None = None,
    conf: Sequence[str] = (),
    interrupted: threading.Event | None = None,
) -> int:
    """Return the id of the one run that a record stands for, starting it if there is none yet.

    Args:
        api: Calls about this kind of run.
        definition: The job or notebook.
        record: What is known so far.
        arguments: Given to the program.
        conf: Spark settings; the key is added.
        interrupted: Set when nobody wants it any more, so that a failed submission is not made again.

    Raises:
        YeeduSubmissionUnknown: Whether there is a run cannot be found out.
        YeeduError: Yeedu refuses to run it.
    """
    if record.run_id is not None:
        return record.run_id
    if not record.is_new:
        found = find_submitted(api, definition, record)
        if found is not None:
            return found
    entries = [*conf, f"{KEY_NAME}={record.key}"] if api.routes.takes_conf else list(conf)
    trial = RESUBMISSION.start(api.clock)
    while True:
        try:
            return api.submit(definition, arguments=arguments, conf=entries)
        except YeeduError as error:
            if not may_have_acted(error):
                raise
            failure = error
        found = find_submitted(api, definition, record)
        if found is not None:
            return found
        if interrupted is not None and interrupted.is_set():
            raise failure
        trial.wait(failure, f"to run {api.kind} {definition}")


def find_submitted(api: RunAPI, definition: int, record: Record) -> int | None:
    """Return the run that a record's submission started, or None when there certainly is none.

    Raises:
        YeeduSubmissionUnknown: The server cannot say.
    """
    search = _search_by_key if api.routes.takes_conf else _search_by_time
    clock = api.clock
    deadline = Deadline.after(clock, SEARCH_SECONDS)
    schedule = PollSchedule(clock, min_seconds=0.25, max_seconds=2.0, share=0.5)
    while True:
        try:
            found = search(api, definition, record)
        except YeeduSubmissionUnknown:
            raise
        except YeeduError as error:
            raise _unknown(api, definition, record, str(error)) from None
        if found is not None or deadline.has_passed:
            return found
        clock.sleep(deadline.limit(schedule.next_wait_seconds()))


def _search_by_key(api: RunAPI, definition: int, record: Record) -> int | None:
    """Look once; a list that leaves out the conf entries is completed run by run."""
    wanted = f"{KEY_NAME}={record.key}"
    for run in api.list_runs(definition):
        conf = run.conf
        if conf is None:
            try:
                conf = api.read(run.run_id).conf
            except YeeduNotFound:
                continue
        if conf is None:
            raise _unknown(api, definition, record, "its runs do not show their conf entries")
        if wanted in (entry.replace(" ", "") for entry in conf):
            return run.run_id
    return None


def _search_by_time(api: RunAPI, definition: int, record: Record) -> int | None:
    """Look once for the only run that this user started since the intent."""
    username = api.client.username
    candidates: list[int] = []
    for run in api.list_runs(definition):
        creator = text_of(run.fields, "created_by")
        if username is not None and creator is not None and creator != username:
            continue
        created_at = _moment(text_of(run.fields, "created_at"))
        if created_at is None:
            raise _unknown(api, definition, record, "its runs do not show when they were started")
        if created_at >= record.intended_at - CLOCK_SKEW_SECONDS:
            candidates.append(run.run_id)
    if len(candidates) > 1:
        raise _unknown(api, definition, record, f"the runs {candidates} may all be the one")
    return candidates[0] if candidates else None


def _moment(text: str | None) -> float | None:
    """Return a time in seconds since 1970; one without a zone is taken as UTC."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _unknown(api: RunAPI, definition: int, record: Record, reason: str) -> YeeduSubmissionUnknown:
    sign = f"with the conf entry {KEY_NAME}={record.key}" if api.routes.takes_conf else "of that time"
    return YeeduSubmissionUnknown(
        f"It is not known whether Yeedu started {api.kind} {definition} ({reason}); look in Yeedu for a run "
        f"{sign}, and start it again only if there is none."
    )
