"""The workloads of each peer, and what is measured of them."""

import math
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.peers.peer import Peer, RunFailedError
from bench.run_start import percentile
from tests.platforms import wait_for

SAMPLES, SAMPLING_SECONDS = 20, 75  # whichever is reached first
TICKS = 2
RECOVERY_SECONDS = 360  # a little more than the longest timeout by which a peer notices, 300 s
_RUN_SECONDS = 300
# The second of a minute at which schedules are switched on: runs that they then catch up on end within that
# minute, and do not count.
_SECOND = 5
_KILLING_SECONDS = 1.0  # until killed processes have stopped writing

Figures = dict[str, Any]


def measure(peer: Peer) -> Figures:
    """Run all workloads on a started peer, and return its figures; failures are under `reasons`."""
    figures: Figures = {
        "name": peer.name,
        "version": peer.version,
        "consists_of": peer.consists_of,
        "process_per_run": peer.process_per_run,
        "measured_at": datetime.now(UTC).isoformat(" ", "minutes"),
        "reasons": dict(peer.not_measured),
    }
    peer.wait([peer.trigger("empty")], _RUN_SECONDS)  # pays for one-time work, and is not counted
    for name, workload in WORKLOADS.items():
        if name in figures["reasons"]:
            continue
        print(f"{peer.name}: {name}", flush=True)
        began = time.monotonic()
        try:
            figures |= workload(peer)
        except Exception as error:  # noqa: BLE001 - the table reports it, and the rest is still measured
            figures["reasons"][name] = reason(error)
        print(f"{peer.name}: {name} took {time.monotonic() - began:.0f} s", flush=True)
    return figures


def reason(error: Exception) -> str:
    """Return an error on one line, for the table."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _empty(peer: Peer) -> Figures:
    """Trigger the empty flow repeatedly; return the seconds until its first line runs, and until its end."""
    started, ended = list[float](), list[float]()
    over = time.monotonic() + SAMPLING_SECONDS
    while len(ended) < SAMPLES and time.monotonic() < over:
        _forget(peer, "empty")
        began = time.time()
        [end] = peer.wait([peer.trigger("empty")], _RUN_SECONDS)
        started.append(marks(peer.marks / "empty")[0][1] - began)
        ended.append(end - began)
    return {
        "samples": len(ended),
        "started_p50": statistics.median(started),
        "started_p99": percentile(started, 99),
        "ended_p50": statistics.median(ended),
        "ended_p99": percentile(ended, 99),
    }


def _saturation(peer: Peer) -> Figures:
    """Trigger many runs at once; return how many end in a minute, and the processor time of each."""
    runs = peer.saturation_runs
    cpu_seconds, began = peer.cpu_seconds(), time.time()
    ended = peer.wait([peer.trigger("empty") for _ in range(runs)], _RUN_SECONDS)
    return {
        "saturation_runs": runs,
        "runs_per_minute": runs / (max(ended) - began) * 60,
        "cpu_seconds_per_run": (peer.cpu_seconds() - cpu_seconds) / runs,
    }


def _sequence(flow: str) -> Callable[[Peer], Figures]:
    """Return a workload that times a flow of sequential tasks from its trigger to its end."""

    def timed(peer: Peer) -> Figures:
        began = time.time()
        [end] = peer.wait([peer.trigger(flow)], _RUN_SECONDS)
        return {f"{flow}_seconds": end - began}

    return timed


def _ticks(peer: Peer) -> Figures:
    """Start the schedule; return how long after the full minute the flow's first line runs."""
    time.sleep((_SECOND - time.time()) % 60)
    _forget(peer, "tick")
    peer.start_ticks()
    due = math.ceil(time.time() / 60) * 60

    def ticked() -> list[float] | None:
        found = [moment for _, moment in marks(peer.marks / "tick") if moment > due - 1]
        return found if len(found) >= TICKS else None

    seen = wait_for(f"{TICKS} ticks", ticked, 60 * (TICKS + 1))
    late = [(moment + 1) % 60 - 1 for moment in seen]  # up to a second early counts as early
    return {"ticks": len(late), "tick_p50": statistics.median(late)}


def _killed(peer: Peer) -> Figures:
    """Kill the worker in mid-run; return the seconds until the work goes on, or what happens instead."""
    _forget(peer, "long")
    run = peer.trigger("long")
    file = peer.marks / "long"
    wait_for("second step", lambda: any(step == 1 for step, _ in marks(file)), 120, 0.1)
    killed = time.time()
    peer.kill_worker()
    while time.time() < killed + RECOVERY_SECONDS:
        later = [moment for _, moment in marks(file) if moment > killed + _KILLING_SECONDS]
        if later:
            return {"recovery_seconds": later[0] - killed, "recovery": "goes on"}
        try:
            peer.wait([run], 1)
        except RunFailedError as error:
            return {"recovery": f"not: {error} after {time.time() - killed:.0f} s"}
        except (AssertionError, OSError):
            continue  # it is still in flight
    return {"recovery": f"not in {RECOVERY_SECONDS / 60:.0f} minutes"}


WORKLOADS: dict[str, Callable[[Peer], Figures]] = {
    "empty flow": _empty,
    "saturation": _saturation,
    "40 x fibo(10)": _sequence("light"),
    "10 x fibo(33)": _sequence("heavy"),
    "ticks": _ticks,
    "killed worker": _killed,
}


def marks(file: Path) -> list[tuple[int, float]]:
    """Return the marks of a flow's steps, each with its time."""
    if not file.exists():
        return []
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    return [(int(step), float(moment)) for step, moment in lines]


def _forget(peer: Peer, flow: str) -> None:
    (peer.marks / flow).unlink(missing_ok=True)
