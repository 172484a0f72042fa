"""The report of skipped patches that a worker wrote last, readable without importing Prefect.

Standard library only, since the host's commands load it as well.
"""

import json
from pathlib import Path

FILE = "worker-patches.json"


def last_report(home: Path) -> str:
    """Return which patches the worker with this Prefect home last left out; empty if it has not reported."""
    try:
        return json.loads((home / FILE).read_text(encoding="utf-8"))["left_out"]
    except (OSError, ValueError, LookupError):
        return ""
