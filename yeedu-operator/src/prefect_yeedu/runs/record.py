"""The record of a call's remote run: a small state machine that says only what was seen.

intended -> submitted -> running -> stopping -> ended. The intent is recorded before Yeedu is asked for a run,
the run's id before it is waited for, and the end once a terminal state was read. Nothing else ends a record:
a run that was not seen to end stays open, and the next attempt, or the search for orphans, continues it.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from prefect_yeedu.models import RunKind

if TYPE_CHECKING:
    from prefect_yeedu.models import RunState


class Phase(StrEnum):
    """How far a run is known to have come.

    Attributes:
        INTENDED: Yeedu may or may not have been asked for it.
        SUBMITTED: Yeedu has given it an id.
        RUNNING: It was seen running.
        STOPPING: Yeedu was asked to stop it; it is not known whether it did.
        ENDED: A terminal state was read.
    """

    INTENDED = "intended"
    SUBMITTED = "submitted"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Resume(StrEnum):
    """What a later attempt of the same call does with the run of an earlier one.

    Attributes:
        ON_CRASH: Take over a run that goes on, return the result of one that succeeded, and start a new run
            after one that ended otherwise.
        ALWAYS: Never start a second run: one that ended otherwise makes every later attempt fail as well.
        NEVER: Start a new run in each attempt; a run that goes on is stopped first.
    """

    ON_CRASH = "on_crash"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class Record:
    """What is known about the run of a call.

    Attributes:
        key: The key that its submission carries.
        phase: How far it has come.
        is_new: Whether this attempt wrote the intent, so that nobody can have submitted it yet.
        run_id: The remote run's id, once Yeedu has given it one.
        url: The run's page in Yeedu's user interface, once there is a run.
        state: The terminal state that was read; None before the end.
        cells_done: Whether all cells of a notebook have succeeded; its run is stopped after that.
        exit_value: What the notebook passed to `dbutils.notebook.exit`, if it did.
        intended_at: When Yeedu was about to be asked, in seconds since 1970 by this side's clock; 0 if it has
            certainly started nothing.
        is_unanswered: Whether the submission was not answered, so that Yeedu may still be working on it.
        attempt: Which run of this call it is, counted from 1.
        others: Runs that are known not to be this one.
        is_notebook: Whether it is a notebook's run, whose end says nothing about its cells.
        deferred_until: End of the budget of a run whose caller has left, in seconds since 1970 by this side's
            clock; None if it has no budget, or its caller never left.
        is_of_this_attempt: Whether the current attempt wrote it: a flow run that was suspended continues its
            attempt in another process, which makes all its calls again.
    """

    key: str
    phase: Phase = Phase.INTENDED
    is_new: bool = True
    run_id: int | None = None
    url: str = ""
    state: RunState | None = None
    cells_done: bool = False
    exit_value: str | None = None
    intended_at: float = field(default_factory=time.time)
    is_unanswered: bool = False
    attempt: int = 1
    others: tuple[int, ...] = ()
    is_notebook: bool = False
    deferred_until: float | None = None
    is_of_this_attempt: bool = False

    @property
    def has_succeeded(self) -> bool:
        """Whether the run succeeded; a notebook has once all its cells have."""
        has_done_its_work = self.state is not None and self.state.is_success and not self.is_notebook
        return self.cells_done or has_done_its_work

    def is_unwanted(self, resume: Resume) -> bool:
        """Return whether an attempt that finds this record must stop its run first."""
        return resume is Resume.NEVER and self.phase is not Phase.ENDED and not self.is_of_this_attempt

    def starts_over(self, resume: Resume) -> bool:
        """Return whether an attempt that finds this record must write a new one."""
        if self.phase is Phase.INTENDED and not self.intended_at:
            return True
        if self.phase is not Phase.ENDED or self.is_of_this_attempt or resume is Resume.ALWAYS:
            return False
        return resume is Resume.NEVER or not self.has_succeeded


@dataclass(frozen=True)
class ClusterMove:
    """A definition that was moved to another cluster, and has to be moved back.

    Attributes:
        own_cluster: The cluster that it belongs to.
        cluster: The cluster that it was moved to.
        is_of_this_call: Whether an earlier attempt of the same call moved it.
    """

    own_cluster: int
    cluster: int
    is_of_this_call: bool = True


class Ledger:
    """Records the run of one call; this base class only in memory, as long as the object lasts.

    Attributes:
        generation: The API generation in use, set before the record is opened.
        kind: Job or notebook, set before the record is opened.
    """

    generation: str = ""
    kind: RunKind = RunKind.JOB
    _record: Record | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Conf entries for the remote run besides the key."""
        return ()

    def open(self, resume: Resume = Resume.ON_CRASH) -> Record:
        """Record the intent to run something, or return what was recorded before.

        Args:
            resume: Whether the run of an earlier attempt is taken over. One that has not ended is returned in
                any case: the caller takes it over, or stops it and calls this again.
        """
        known = self._record
        if known is not None and not known.starts_over(resume):
            self._record = replace(known, is_new=False)
        else:
            attempt = known.attempt + 1 if known is not None else 1
            others = (*known.others, known.run_id or 0) if known is not None else ()
            is_notebook = self.kind is RunKind.NOTEBOOK
            self._record = Record(
                key=uuid.uuid4().hex, attempt=attempt, others=others, is_notebook=is_notebook
            )
        return self._record

    def note_intended(self) -> Record:
        """Record that Yeedu is about to be asked for the run again, as it certainly was not started."""
        record = self._record or Record(key=uuid.uuid4().hex)
        self._record = replace(record, intended_at=time.time(), is_unanswered=False)
        return self._record

    def note_refused(self) -> None:
        """Record that Yeedu has certainly started nothing."""
        self._note(intended_at=0.0)

    def note_unanswered(self) -> None:
        """Record that the submission was not answered, so that Yeedu may still be working on it."""
        self._note(is_unanswered=True)

    def note_submitted(self, run_id: int, url: str) -> None:
        """Record the remote run."""
        self._note(phase=Phase.SUBMITTED, run_id=run_id, url=url)

    def note_running(self) -> None:
        """Record that the run was seen running."""
        if self._record is not None and self._record.phase is Phase.SUBMITTED:
            self._note(phase=Phase.RUNNING)

    def note_deferred(self, ends_at: float | None) -> str:
        """Record that the caller is about to leave; return a key for that, empty if it cannot leave.

        Args:
            ends_at: When the run's budget ends, in seconds since 1970; None for never.
        """
        self._note(deferred_until=ends_at)
        return ""

    def note_stopping(self) -> None:
        """Record that Yeedu is about to be asked to stop the run."""
        self._note(phase=Phase.STOPPING)

    def note_cells_done(self, exit_value: str | None) -> None:
        """Record that all cells of a notebook have succeeded, before its run is stopped."""
        self._note(cells_done=True, exit_value=exit_value)

    def note_ended(self, state: RunState) -> None:
        """Record the terminal state that was read; nothing else marks a run as over."""
        self._note(phase=Phase.ENDED, state=state)

    def note_error(self, text: str) -> None:
        """Show what is wrong to readers of the record."""

    def read_move(self) -> ClusterMove | None:
        """Return the move of the definition that was not undone."""
        return None

    def note_move(self, own_cluster: int, cluster: int) -> None:
        """Record that the definition is about to be moved."""

    def forget_move(self) -> None:
        """Record that the definition is where it belongs."""

    def _note(self, **changes: object) -> None:
        if self._record is not None and self._record.phase is not Phase.ENDED:
            self._record = replace(self._record, **changes)  # pyright: ignore[reportArgumentType]
