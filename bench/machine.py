"""Describes the machine that figures are measured on."""

import contextlib
import os
import platform
from pathlib import Path

import psutil


def machine() -> str:
    """Return the measured machine in one line: cores, processor, memory, system, Python."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor
        )
    gigabytes = psutil.virtual_memory().total / 1e9
    return (
        f"{os.cpu_count()} x {processor}, {gigabytes:.0f} GB, {platform.platform(terse=True)}, "
        f"Python {platform.python_version()}"
    )
