"""Follows a run's logs: passes each line on exactly once, and returns the complete text at the end."""

from __future__ import annotations

import codecs
import hashlib
import logging
import re
from collections import deque
from typing import TYPE_CHECKING, Literal

import requests
import urllib3

from prefect_yeedu.errors import YeeduError, YeeduRunError
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.retry_policy import ONCE
from prefect_yeedu.runs.wait_options import POLL_READ_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect_yeedu.client.api import RunAPI
    from prefect_yeedu.retry_policy import Clock, Trial

    Stream = Literal["stdout", "stderr"]
    LineCallback = Callable[[Stream, str], None]

logger = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
MAX_LINE_CHARACTERS = 32 * 1024
MIN_WAIT_SECONDS = 0.5
# A growing log is read again after a share of the elapsed time, any other after twice its last wait.
GROWING_SHARE = 0.5
MAX_GROWING_WAIT_SECONDS = 110.0
MAX_QUIET_WAIT_SECONDS = 600.0
# The share of the time that may be spent on fetching logs from a server that always sends them whole.
FETCH_SHARE = 0.1
# A log that Yeedu does not have this long after the end, while it knows the run, is an empty one.
MISSING_SECONDS = 1.0
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<start>\d+)-\d+|\*)/(?P<size>\d+|\*)")


class LineSplitter:
    """Turns pieces of bytes into lines, wherever the pieces are cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest: list[str] = []
        self._rest_characters = 0

    @property
    def unfinished(self) -> str:
        """The text since the last line break."""
        return "".join(self._rest)

    def feed(self, piece: bytes, *, is_last: bool = False) -> list[str]:
        """Return the lines that are now complete; at the end also one without a line break."""
        *lines, rest = self._decoder.decode(piece, is_last).split("\n")
        if lines:
            lines[0] = f"{self.unfinished}{lines[0]}"
            self._rest, self._rest_characters = [], 0
        self._rest.append(rest)
        self._rest_characters += len(rest)
        if self._rest_characters > MAX_LINE_CHARACTERS or (is_last and self._rest_characters):
            whole = self.unfinished
            end = len(whole) if is_last else len(whole) - len(whole) % MAX_LINE_CHARACTERS
            lines += [
                whole[start : min(start + MAX_LINE_CHARACTERS, end)]
                for start in range(0, end, MAX_LINE_CHARACTERS)
            ]
            self._rest, self._rest_characters = [whole[end:]], len(whole) - end
        return [line.removesuffix("\r") for line in lines]


class LogFollower:
    """Reads one log of one run as it grows.

    Args:
        api: Calls about the run.
        run_id: The run.
        stream: `stdout` or `stderr`.
        on_line: Receives each line once, and occasionally the state of a progress bar.
        max_characters: How much of the log's end `text` keeps.
    """

    def __init__(
        self, api: RunAPI, run_id: int, stream: Stream, on_line: LineCallback, *, max_characters: int
    ) -> None:
        self._api = api
        self._run_id = run_id
        self.stream: Stream = stream
        self._on_line = on_line
        self._max_characters = max_characters
        self._splitter = LineSplitter()
        self._offset_bytes = 0
        self._read_so_far = hashlib.sha256()
        self._kept: deque[str] = deque()
        self._kept_characters = 0
        self._dropped_lines = 0
        self._missing = ""
        self._is_run_known = False  # seen after the log was denied
        self._shown_progress = ""
        self._first_at: float | None = None
        self._next_at = 0.0
        self._wait_seconds = MIN_WAIT_SECONDS

    @property
    def is_whole(self) -> bool:
        """Whether `text` is the whole log, as far as is known."""
        return not (self._missing or self._dropped_lines)

    @property
    def text(self) -> str:
        """The log so far, with a sentence at each place where something is missing."""
        beginning = (
            [f"[The first {self._dropped_lines:,} lines are left out here; Yeedu has them.]"]
            if self._dropped_lines
            else []
        )
        end = [f"[{self._missing}]"] if self._missing else []
        return "".join(f"{line}\n" for line in [*beginning, *self._kept, *end])

    def poll(self, clock: Clock) -> None:
        """Read what is new, if it is time to; leave a failure to the next time."""
        started_at = clock.now()
        if started_at < self._next_at:
            return
        if self._first_at is None:
            self._first_at = started_at
        before = self._offset_bytes
        try:
            self._read()
        except YeeduRunError:
            raise  # the wait for the run is over
        except YeeduError as error:
            logger.debug("The %s log of run %d cannot be read now: %s", self.stream, self._run_id, error)
        self._show_progress()
        now = clock.now()
        if self._offset_bytes > before:
            share = GROWING_SHARE * (now - self._first_at)
            self._wait_seconds = min(max(share, MIN_WAIT_SECONDS), MAX_GROWING_WAIT_SECONDS)
        else:
            self._wait_seconds = min(2 * self._wait_seconds, MAX_QUIET_WAIT_SECONDS)
        self._next_at = now + max(self._wait_seconds, (now - started_at) / FETCH_SHARE)

    def finish(self, trial: Trial, *, ended_at: float) -> str | None:
        """Read the rest after the run's end, resuming where a download broke off.

        Args:
            trial: The failures of all logs of this run, and how long they may last.
            ended_at: When the end was noticed, on the trial's clock.

        Returns:
            A sentence about what could not be read; None if the log is whole.
        """
        while True:
            before = self._offset_bytes
            try:
                self._read()
                break
            except YeeduError as error:
                failure = error
            if self._offset_bytes > before:
                trial.succeed()
            wait_seconds = self._wait_before_next(trial, failure, ended_at)
            if wait_seconds is None:
                break
            trial.clock.sleep(wait_seconds)
        self._emit(self._splitter.feed(b"", is_last=True))
        return self._missing or None

    def _wait_before_next(self, trial: Trial, failure: YeeduError, ended_at: float) -> float | None:
        """Return how long to wait before the log is read again; None if it is not."""
        if classify(failure) is Failure.GONE:
            seconds_since_end = trial.clock.now() - ended_at
            if seconds_since_end < MISSING_SECONDS:
                return MISSING_SECONDS - seconds_since_end
            if not self._offset_bytes:
                if self._is_run_known:
                    return None
                self._is_run_known = self._finds_run()
                if self._is_run_known:
                    return 0.0
                if seconds_since_end < (trial.retries.budget_seconds or 0.0):
                    return MISSING_SECONDS
            wait_seconds = None
        else:
            wait_seconds = trial.fail(failure)
        if wait_seconds is None:
            logger.debug("The %s log of run %d is not whole: %s", self.stream, self._run_id, failure)
            self._missing = (
                f"The {self.stream} log could not be read beyond its first {self._offset_bytes:,} bytes."
            )
        return wait_seconds

    def _finds_run(self) -> bool:
        """Return whether Yeedu knows the run itself: else its 404 for a log means nothing."""
        try:
            self._api.read(self._run_id, retries=ONCE, read_seconds=POLL_READ_SECONDS)
        except YeeduError as error:
            logger.debug("Run %d cannot be read beside its log: %s", self._run_id, error)
            return False
        return True

    def _read(self) -> None:
        """Read from the current offset to the log's present end.

        Raises:
            YeeduError: There was no answer, or it broke off; what arrived of it is kept.
        """
        response = self._api.open_log(
            self._run_id, self.stream, self._offset_bytes, retries=ONCE, read_seconds=POLL_READ_SECONDS
        )
        with response:
            skip = self._bytes_to_skip(response)
            if skip is None:
                return
            start = hashlib.sha256()
            try:
                # Not `iter_content`: it loses the part of a chunk that came before the connection broke.
                while piece := response.raw.read1(CHUNK_BYTES, decode_content=True):
                    start.update(piece[:skip])
                    new = piece[skip:]
                    if skip and len(piece) >= skip and self._is_other(response, start.digest()):
                        self._note_cut()
                        return
                    skip = max(0, skip - len(piece))
                    if new:
                        self._offset_bytes += len(new)
                        self._read_so_far.update(new)
                        self._emit(self._splitter.feed(new))
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                failure = self._api.client.broken_answer(error)
            else:
                if skip:
                    self._note_cut()
                return
        raise failure

    def _bytes_to_skip(self, response: requests.Response) -> int | None:
        """Return how much of an answer has been read already; None if there is nothing in it."""
        self._missing = ""
        if response.status_code == 200:
            return self._offset_bytes  # the log from its start, as from a server without ranges
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status_code == 416:
            if found and found["size"].isdigit() and int(found["size"]) < self._offset_bytes:
                self._note_cut()
            return None
        return max(0, self._offset_bytes - int(found["start"])) if found and found["start"] else 0

    def _is_other(self, response: requests.Response, start: bytes) -> bool:
        """Return whether an answer from the log's start differs from what has been read."""
        return response.status_code == 200 and start != self._read_so_far.digest()

    def _note_cut(self) -> None:
        """Note that the log has lost its start or end, so that it is not known where the rest belongs."""
        self._missing = (
            f"Yeedu has cut the {self.stream} log; what came after its first {self._offset_bytes:,} bytes "
            "is left out here."
        )

    def _show_progress(self) -> None:
        """Show the last state of a line that is overwritten again and again, and may never end."""
        progress = last_state(self._splitter.unfinished)
        if progress and progress != self._shown_progress and "\r" in self._splitter.unfinished:
            self._shown_progress = progress
            self._on_line(self.stream, progress)

    def _emit(self, lines: list[str]) -> None:
        for line in lines:
            self._kept.append(line)
            self._kept_characters += len(line) + 1
            self._on_line(self.stream, line)
        while self._kept_characters > self._max_characters and len(self._kept) > 1:
            self._kept_characters -= len(self._kept.popleft()) + 1
            self._dropped_lines += 1


def last_state(line: str) -> str:
    """Return what a terminal would show of a line that carriage returns overwrite."""
    return line.rstrip("\r").rpartition("\r")[2]
