"""Progress on the terminal: one line per step, with the seconds since the command began."""

import time
from datetime import UTC, datetime
from typing import TextIO


class Console:
    """Prints lines at once, so that they appear in order between the output of child processes."""

    def __init__(self, output: TextIO | None = None) -> None:
        """Print to `output`, by default standard output."""
        self._output = output
        self._started = time.monotonic()
        self.began_at = datetime.now(UTC)

    def step(self, text: str) -> None:
        """Print one step of the progress."""
        print(f"[{time.monotonic() - self._started:6.1f} s] {text}", file=self._output, flush=True)

    def say(self, text: str = "") -> None:
        """Print a line as it is."""
        print(text, file=self._output, flush=True)


def printable(text: str) -> str:
    """Return text of somebody else's as it may be put on a terminal: no control characters, no line ends."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
