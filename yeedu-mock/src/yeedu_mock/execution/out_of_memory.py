"""Ends a run as Yeedu does when the cluster has too little memory for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

EXIT_CODE = 137


def leave_marks(folder: Path) -> str:
    """Write to a run's stderr what Spark writes then, and return the error that the platform shows."""
    (folder / "stderr.log").write_text("java.lang.OutOfMemoryError: Java heap space\n", encoding="utf-8")
    return f"The container was killed, exit code: {EXIT_CODE}."
