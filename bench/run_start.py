"""Measures how long a triggered run takes to start and to complete, on stock workers and on this one."""

import statistics
import time

from bench.workers import OURS, STOCK, STOCK_AT_OUR_PACE, Workers, completed_runs, seconds_between

_TIMES = {STOCK: 7, STOCK_AT_OUR_PACE: 9, OURS: 20}

Figures = dict[str, dict[str, list[float]]]


def measure(workers: Workers) -> Figures:
    """Trigger runs one after another; return, per worker, each one's seconds to Running and Completed."""
    results: Figures = {}
    for worker, times in _TIMES.items():
        print(f"{worker}: {times} runs, one after another", flush=True)
        running, completed = list[float](), list[float]()
        for _ in range(times):
            began = time.time()
            [run] = completed_runs(workers.api, [workers.trigger(worker)])
            running.append(seconds_between(began, run["start_time"]))
            completed.append(seconds_between(began, run["end_time"]))
        results[worker] = {"running_seconds": running, "completed_seconds": completed}
    return results


def percentile(values: list[float], percent: int) -> float:
    """Return the smallest value that this percentage of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]


def table(results: Figures) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| empty flow | Running p50 | Running p95 | Completed p50 | Completed p95 | times faster |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    ours = statistics.median(results[OURS]["completed_seconds"])
    for worker, row in results.items():
        cells = " | ".join(
            f"{seconds:.2f} s"
            for values in row.values()
            for seconds in (statistics.median(values), percentile(values, 95))
        )
        times = statistics.median(row["completed_seconds"]) / ours
        lines.append(f"| {worker} | {cells} | {times:.1f} |")
    return "\n".join(lines)
