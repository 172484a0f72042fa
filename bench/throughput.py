"""Measures how many runs a worker completes at saturation, and what each of them costs."""

import statistics
import threading
from collections.abc import Callable

from bench.usage import Usage
from bench.workers import OURS, STOCK, Workers, completed_runs, seconds_of

_RUNS_OF_EACH = 2.4  # for each run at a time
_ROUNDS = {STOCK: 1, OURS: 5}  # a stock worker's round takes a minute and a half
_SAMPLE_SECONDS = 0.25

Figures = dict[str, dict[str, list[float]]]


class MemoryPeak:
    """Measures the most memory that a worker and its runs use within a `with` block."""

    def __init__(self, meter: Callable[[], Usage]) -> None:
        self.most_bytes = 0
        self._meter = meter
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "MemoryPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.most_bytes = max(self.most_bytes, self._meter().memory_bytes)


def measure(workers: Workers) -> Figures:
    """Trigger many runs at once, several times; return, per worker, each time's rate and cost of a run."""
    results: Figures = {}
    at_once = workers.runs_at_once
    for worker, rounds in _ROUNDS.items():
        runs = round(_RUNS_OF_EACH * at_once)
        print(f"{worker}: {rounds} times {runs} runs at once, {at_once} at a time", flush=True)
        measured = [_measure(workers, worker, runs) for _ in range(rounds)]
        results[worker] = {name: [one[name] for one in measured] for name in measured[0]}
    return results


def _measure(workers: Workers, worker: str, runs: int) -> dict[str, float]:
    meter = workers.meter(worker)
    before, server_before = meter(), workers.server_cpu_seconds()
    with MemoryPeak(meter) as peak:
        triggered = [workers.trigger(worker) for _ in range(runs)]
        done = completed_runs(workers.api, triggered, pause_seconds=1)
    after, server_after = meter(), workers.server_cpu_seconds()
    return {
        "runs_per_minute": runs / seconds_of(workers.api, done) * 60,
        "cpu_seconds_per_run": (after.cpu_seconds - before.cpu_seconds) / runs,
        "server_cpu_seconds_per_run": (server_after - server_before) / runs,
        "megabytes_per_concurrent_run": (peak.most_bytes - before.memory_bytes) / workers.runs_at_once / 1e6,
    }


def table(results: Figures) -> str:
    """Return the medians as a Markdown table, with the least and the most runs a minute."""
    medians = {
        worker: {name: statistics.median(values) for name, values in row.items()}
        for worker, row in results.items()
    }
    theirs, ours = medians[STOCK], medians[OURS]
    lines = [
        "| empty flow, as many at a time as the worker takes | runs per minute | CPU s per run, worker "
        "| server and database | MB per concurrent run |",
        "| --- | --- | --- | --- | --- |",
    ]
    for worker, row in medians.items():
        rate, cpu, of_server, memory = row.values()
        rates = results[worker]["runs_per_minute"]
        span = f" ({min(rates):.0f} to {max(rates):.0f})" if len(rates) > 1 else ""
        lines.append(f"| {worker} | {rate:.0f}{span} | {cpu:.2f} | {of_server:.2f} | {memory:.0f} |")
    ratios = [f"{ours['runs_per_minute'] / theirs['runs_per_minute']:.1f} times more"]
    ratios += [
        f"{theirs[name] / ours[name]:.1f} times less"
        for name in ("cpu_seconds_per_run", "server_cpu_seconds_per_run", "megabytes_per_concurrent_run")
    ]
    lines.append(f"| | {' | '.join(ratios)} |")
    return "\n".join(lines)
