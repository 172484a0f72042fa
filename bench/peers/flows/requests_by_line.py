"""Reads requests to trigger flows and to wait for them as lines of JSON, and writes answers as such."""

import json
import sys
from collections.abc import Callable
from typing import Any


def answer_all(trigger: Callable[[str], str], wait: Callable[[list[str], float], dict[str, Any]]) -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        answer = trigger(request["trigger"]) if "trigger" in request else wait(*request["wait"])
        print(json.dumps(answer), flush=True)
