"""Submits a run at most once, despite lost responses and crashes of this process.

A submission carries a key as a conf entry. If it is unknown whether Yeedu accepted it, the run is looked for
by that key, and never submitted again before it is certain that there is none. The first API generation takes
no conf entries, so there the user, time and arguments have to prove which run is the one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduError, YeeduStopRequested, YeeduSubmissionUnknown
from prefect_yeedu.failures import Failure, classify, is_unanswered, may_have_acted
from prefect_yeedu.retry_policy import Deadline, InterruptibleClock, PollSchedule, SystemClock
from prefect_yeedu.runs.run_search import KEY_NAME, RunSearch
from prefect_yeedu.runs.wait_options import WaitOptions

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from prefect_yeedu.client.api import RunAPI
    from prefect_yeedu.runs.record import Ledger, Record

# Shortest search for a run after no answer, and longest after an answer that does not name the run.
MIN_SEARCH_SECONDS = 10.0
ANSWERED_SEARCH_SECONDS = 30.0
# How long to look for a run that is not wanted any more, so that it can be stopped.
HURRIED_SEARCH_SECONDS = 20.0
# A search that may take longer than this is reported.
UNTOLD_SECONDS = 5.0


@dataclass
class Submission:
    """The submission of a record's run.

    Attributes:
        api: Calls about this kind of run.
        definition: The job or notebook.
        ledger: Records the run.
        record: What is known so far.
        submit_seconds: How long Yeedu may take to answer it, and to show the run in its list.
        arguments: The program's arguments.
        conf: Spark settings; the key is added.
        interrupted: Set when the run is not wanted any more.
        prepare: Makes sure that Yeedu can run it, with calls whose waits end when it is not wanted any more;
            called when there certainly is no run yet.
        tell: Receives a sentence about what takes long.
        unanswered_seconds: How long after the intent Yeedu may still start the run if an earlier attempt was
            not answered, and if that is longer than `submit_seconds`.
    """

    api: RunAPI
    definition: int
    ledger: Ledger
    record: Record
    submit_seconds: float
    arguments: str | None = None
    conf: Sequence[str] = ()
    interrupted: threading.Event | None = None
    prepare: Callable[[RunAPI], None] | None = None
    tell: Callable[[str], None] | None = None
    unanswered_seconds: float = WaitOptions.cluster_seconds

    def submit(self) -> int:
        """Return the id of the one run that the record stands for, starting it if there is none yet.

        Raises:
            YeeduSubmissionUnknown: It cannot be determined whether there is a run; the record stays open.
            YeeduError: Yeedu refuses to run it, or was not asked.
        """
        found = None if self.record.is_new else self.find()
        if found is not None:
            return found
        if not self.record.is_new:
            self._tell_of_repetition()
        self._prepare()
        if self.prepare is not None or not self.record.is_new:  # the recorded intent is out of date
            self.record = replace(self.ledger.note_intended(), is_new=self.record.is_new)
        entries = list(self.conf)
        if self.api.routes.takes_conf:
            entries += [*self.ledger.labels, f"{KEY_NAME}={self.record.key}"]
        try:
            self._ensure_wanted()
            return self._interruptible_api.submit(
                self.definition, arguments=self.arguments, conf=entries, read_seconds=self.submit_seconds
            )
        except YeeduError as error:
            if not may_have_acted(error):
                self.ledger.note_refused()
                raise
            failure = error
        if is_unanswered(failure):
            self.ledger.note_unanswered()
        reason = str(failure).rstrip(".")
        limit = self._seconds_left() if is_unanswered(failure) else ANSWERED_SEARCH_SECONDS
        found = self._search(
            max(MIN_SEARCH_SECONDS, min(limit, self._seconds_left())),
            f"It is not known whether Yeedu started {self._title} ({reason})",
        )
        if found is None:
            raise self._new_search().unknown(str(failure))
        return found

    def find(self) -> int | None:
        """Return the run that an earlier attempt has submitted, or None if there certainly is none.

        Raises:
            YeeduSubmissionUnknown: The server cannot say; the record stays open.
            YeeduError: Yeedu refuses the login.
        """
        if self.record.run_id is not None:
            return self.record.run_id
        return self._search(self._seconds_left(), f"An earlier attempt may have started {self._title}")

    def search_once(self) -> int | None:
        """Return the run if it is there, or None if there certainly is none.

        Raises:
            YeeduSubmissionUnknown: The server cannot say, or it is too early to be certain.
            YeeduError: Yeedu cannot be reached, or refuses the login.
        """
        is_certain = self._seconds_left() <= 0
        search = self._new_search()
        found = search.run()
        if found is None and not (is_certain and search.is_clear):
            raise search.unknown("it may still come")
        return found

    def _prepare(self) -> None:
        """Do what comes before the submission; a failure means that nothing was submitted."""
        try:
            if self.prepare is not None:
                self.prepare(self._interruptible_api)
        except YeeduError:
            self.ledger.note_refused()
            raise

    def _search(self, seconds: float, why: str) -> int | None:
        """Look for the run until it is there; return None if it is not after this many seconds."""
        search, clock = self._new_search(), self.api.clock
        is_hurried = self._is_interrupted
        if is_hurried:
            seconds = min(seconds, HURRIED_SEARCH_SECONDS)
        if seconds > UNTOLD_SECONDS and self.tell is not None:
            self.tell(f"{why}; looking for its run for up to {seconds:.0f} s.")
        deadline = Deadline.after(clock, seconds)
        schedule = PollSchedule(clock, min_seconds=0.25, max_seconds=5.0, share=0.5)
        while True:
            is_last = deadline.has_passed
            found, trouble = self._search_once(search)
            if found is not None:
                return found
            if is_last and (trouble or is_hurried):
                raise search.unknown(trouble or "nobody waits for it any more")
            if is_last:
                return None
            try:
                clock.sleep(deadline.limit(schedule.next_wait_seconds()))
            except YeeduStopRequested:  # from here on, a clock that nobody stops
                seconds, clock = deadline.limit(HURRIED_SEARCH_SECONDS), SystemClock()
                search.api = replace(self.api, clock=clock)
                deadline, is_hurried = Deadline.after(clock, seconds), True
                schedule = PollSchedule(clock, min_seconds=0.25, max_seconds=2.0, share=0.5)
            if self._is_interrupted and not is_hurried:
                deadline = Deadline.after(clock, deadline.limit(HURRIED_SEARCH_SECONDS))
                is_hurried = True

    def _search_once(self, search: RunSearch) -> tuple[int | None, str]:
        """Search once; return the run, and why it is uncertain whether there is one."""
        try:
            found = search.run()
        except (YeeduStopRequested, YeeduSubmissionUnknown) as error:
            if isinstance(error, YeeduSubmissionUnknown):
                raise
            return None, "nobody waits for it any more"
        except YeeduError as error:
            if classify(error) is Failure.TRANSIENT:
                return None, str(error)
            if error.is_before_call:
                raise
            reason = str(error)
        else:
            return found, "" if search.is_clear else "one of its runs cannot be read"
        raise search.unknown(reason)

    def _new_search(self) -> RunSearch:
        return RunSearch(self.api, self.definition, self.record, self._window_seconds, self.arguments)

    @property
    def _window_seconds(self) -> float:
        """How long after the intent Yeedu may start the run."""
        if self.record.is_unanswered:
            return max(self.submit_seconds, self.unanswered_seconds)
        return self.submit_seconds

    def _seconds_left(self) -> float:
        """Return how long Yeedu may still start the run that was intended."""
        age = time.time() - self.record.intended_at
        return min(max(0.0, self._window_seconds - age), self._window_seconds)

    def _tell_of_repetition(self) -> None:
        if self.tell is None:
            return
        mark = f"with the key {self.record.key}" if self.api.routes.takes_conf else "of it"
        age = time.time() - self.record.intended_at
        self.tell(
            f"Submitting {self._title} again: Yeedu shows no run {mark}, {age:.0f} s after an earlier "
            "attempt may have asked for it."
        )

    @property
    def _is_interrupted(self) -> bool:
        return self.interrupted is not None and self.interrupted.is_set()

    @property
    def _interruptible_api(self) -> RunAPI:
        """The API for calls before Yeedu has the run, whose waits end once it is not wanted any more."""
        if self.interrupted is None:
            return self.api
        return replace(
            self.api, clock=InterruptibleClock(self.api.clock, self.interrupted, self._not_submitted)
        )

    @property
    def _title(self) -> str:
        return f"{self.api.kind} {self.definition}"

    @property
    def _not_submitted(self) -> str:
        return f"{self._title.capitalize()} was not submitted, because nobody waits for it any more."

    def _ensure_wanted(self) -> None:
        if self._is_interrupted:
            raise YeeduStopRequested(self._not_submitted)
