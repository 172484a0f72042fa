"""Progress on the terminal: one line per step, with the seconds since the command started."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from local.script import load_script

_PRINTABLE = Path(__file__).parents[1] / "worker" / "src" / "yeedu_worker" / "printable.py"


def without_login(url: str) -> str:
    """Return an address as it may be shown."""
    return re.sub(r"(?<=://)[^/?#]*@", "", url)


class Console:
    """Prints lines at once, so that they appear in order between the output of child processes."""

    def __init__(self, output: TextIO | None = None) -> None:
        """Print to `output`, by default standard output."""
        self._output = output
        self._started = time.monotonic()
        self.began_at = datetime.now(UTC)

    def step(self, text: str) -> None:
        """Print one step of the progress."""
        self.say(f"[{time.monotonic() - self._started:6.1f} s] {text}")

    def say(self, text: str = "") -> None:
        """Print a line, or several, of which nothing steers the terminal: logs and names are others' text."""
        print("\n".join(map(printable, text.split("\n"))), file=self._output, flush=True)


def printable(line: str) -> str:
    """Return a line of others' text without what steers a terminal; see that function of the worker's."""
    return load_script(_PRINTABLE).printable(line)
