"""Progress on the terminal: one line per step, with the seconds since the command started."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from local.script import load_script

_PRINTABLE = Path(__file__).parents[1] / "worker" / "src" / "yeedu_worker" / "printable.py"


def without_login(url: str) -> str:
    """Return an address without its login, so that it may be shown."""
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
        """Print one or several lines, made safe for a terminal: logs and names are untrusted text."""
        print("\n".join(map(printable, text.split("\n"))), file=self._output, flush=True)


def printable(line: str) -> str:
    """Return an untrusted line, made safe for a terminal by the worker's function of this name."""
    return load_script(_PRINTABLE).printable(line)
