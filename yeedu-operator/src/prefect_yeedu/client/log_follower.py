"""Follow a run's logs while they grow: each line exactly once, and the text whole at the end."""

from __future__ import annotations

import codecs
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import requests

from prefect_yeedu.errors import YeeduError, YeeduNotFound
from prefect_yeedu.patience import ONCE, Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect_yeedu.client.api import RunAPI
    from prefect_yeedu.patience import Clock

    Stream = Literal["stdout", "stderr"]
    LineCallback = Callable[[Stream, str], None]

logger = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
MAX_LINE_CHARACTERS = 32 * 1024
MAX_KEPT_CHARACTERS = 10 * 1024**2
MIN_WAIT_SECONDS = 0.5
# A log that grows is read again after a share of the time, one that does not after twice its last wait.
GROWING_SHARE = 0.5
MAX_GROWING_WAIT_SECONDS = 110.0
MAX_QUIET_WAIT_SECONDS = 600.0
# How much of the time may go into fetching logs from a server that sends them whole each time.
FETCH_SHARE = 0.1


@dataclass
class LineSplitter:
    """Turns pieces of bytes into lines, whatever the pieces cut through."""

    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _rest: str = ""

    def feed(self, piece: bytes, *, is_last: bool = False) -> list[str]:
        """Return the lines that are complete now; at the end also one without a line break."""
        lines = (self._rest + self._decoder.decode(piece, is_last)).split("\n")
        self._rest = lines.pop()
        if is_last and self._rest:
            lines.append(self._rest)
            self._rest = ""
        while len(self._rest) > MAX_LINE_CHARACTERS:
            lines.append(self._rest[:MAX_LINE_CHARACTERS])
            self._rest = self._rest[MAX_LINE_CHARACTERS:]
        return [line.removesuffix("\r") for line in lines]


class LogFollower:
    """Reads one log of one run as far as it has grown.

    Args:
        api: Calls about the run.
        run_id: The run.
        stream: `stdout` or `stderr`.
        on_line: Receives each line once.
    """

    def __init__(self, api: RunAPI, run_id: int, stream: Stream, on_line: LineCallback) -> None:
        self._api = api
        self._run_id = run_id
        self._stream: Stream = stream
        self._on_line = on_line
        self._splitter = LineSplitter()
        self._offset_bytes = 0
        self._kept: deque[str] = deque()
        self._kept_characters = 0
        self._first_at: float | None = None
        self._next_at = 0.0
        self._wait_seconds = MIN_WAIT_SECONDS

    @property
    def text(self) -> str:
        """What the log holds so far; of a very long one the last ten million characters."""
        return "".join(f"{line}\n" for line in self._kept)

    def poll(self, clock: Clock) -> None:
        """Read what is new, if it is time to look again; a failure is left for the next time."""
        started_at = clock.now()
        if started_at < self._next_at:
            return
        if self._first_at is None:
            self._first_at = started_at
        before = self._offset_bytes
        try:
            self._read()
        except YeeduError as error:
            logger.debug("The %s log of run %d is not to be had now: %s", self._stream, self._run_id, error)
        now = clock.now()
        if self._offset_bytes > before:
            share = GROWING_SHARE * (now - self._first_at)
            self._wait_seconds = min(max(share, MIN_WAIT_SECONDS), MAX_GROWING_WAIT_SECONDS)
        else:
            self._wait_seconds = min(2 * self._wait_seconds, MAX_QUIET_WAIT_SECONDS)
        self._next_at = now + max(self._wait_seconds, (now - started_at) / FETCH_SHARE)

    def finish(self, clock: Clock, *, patience_seconds: float) -> None:
        """Read the rest after the run's end.

        Args:
            clock: Where time comes from.
            patience_seconds: How long to wait for a log that Yeedu does not have yet.
        """
        ends_at = clock.now() + patience_seconds
        wait_seconds = 0.25
        while True:
            try:
                self._read(Patience())
                break
            except YeeduNotFound:
                if clock.now() + wait_seconds > ends_at:
                    break
            except YeeduError as error:
                logger.warning(
                    "The %s log of run %d could not be fetched whole: %s", self._stream, self._run_id, error
                )
                break
            clock.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, 4.0)
        self._emit(self._splitter.feed(b"", is_last=True))

    def _read(self, patience: Patience = ONCE) -> None:
        response = self._api.open_log(self._run_id, self._stream, self._offset_bytes, patience=patience)
        with response:
            if response.status_code == 416:
                return
            # 206 begins where we ended; 200 is the log from its start, as from a server without ranges.
            known = 0 if response.status_code == 206 else self._offset_bytes
            try:
                for piece in response.iter_content(CHUNK_BYTES):
                    new = piece[known:]
                    known = max(0, known - len(piece))
                    if new:
                        self._offset_bytes += len(new)
                        self._emit(self._splitter.feed(new))
            except (requests.RequestException, OSError) as error:
                failure = self._api.client.broken_answer(error)
            else:
                return
        raise failure

    def _emit(self, lines: list[str]) -> None:
        for line in lines:
            self._kept.append(line)
            self._kept_characters += len(line) + 1
            self._on_line(self._stream, line)
        while self._kept_characters > MAX_KEPT_CHARACTERS and len(self._kept) > 1:
            self._kept_characters -= len(self._kept.popleft()) + 1
