"""The work of all peers' flows, with only the standard library: each imports this in its own environment."""

import os
import time
from pathlib import Path

LIGHT = [10] * 40
HEAVY = [33] * 10
LONG_STEPS, LONG_STEP_SECONDS, MARK_SECONDS = 4, 5.0, 0.25


def fibo(number: int) -> int:
    """Return a Fibonacci number the slow way, as the public benchmark of Windmill does."""
    return number if number < 2 else fibo(number - 1) + fibo(number - 2)


def mark(flow: str, step: int = 0) -> None:
    """Record in the flow's file that it is at work now."""
    with (Path(os.environ["BENCH_MARKS"]) / flow).open("a", encoding="utf-8") as file:
        file.write(f"{step} {time.time()}\n")


def long_step(step: int) -> None:
    """Work for a while, leaving marks all the time."""
    ends = time.monotonic() + LONG_STEP_SECONDS
    while time.monotonic() < ends:
        mark("long", step)
        time.sleep(MARK_SECONDS)
