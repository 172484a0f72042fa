"""Limits what a job or a kernel may use, and defines the environment it starts with."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class Limits:
    """Bounds on one job or kernel.

    Attributes:
        time_seconds: A job running longer is ended with TERMINATED; None sets no limit.
        memory_bytes: Address space (Linux only).
        file_bytes: The size of any file it writes, including its output.
    """

    time_seconds: float | None = 3600
    memory_bytes: int = 4 * 1024**3
    file_bytes: int = 256 * 1024**2

    def command(self, *program: str) -> list[str]:
        """Return the command that runs `program`, which starts with an absolute path, with these limits."""
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        return [*launcher, str(self.memory_bytes), str(self.file_bytes), *program]


def minimal_environment(home: Path) -> dict[str, str]:
    """Return an environment with nothing of the mock's own but the search path, language and time zone.

    Args:
        home: The value of `HOME`; programs may write there.
    """
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return {"LANG": "C.UTF-8", **inherited, "HOME": str(home), "PYTHONUNBUFFERED": "1"}
