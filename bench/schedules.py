"""Measures how late scheduled runs start, with more and more deployments on a five-minute schedule."""

import time
from datetime import UTC, datetime

from bench.run_start import percentile
from bench.workers import Workers, seconds_between
from tests.platforms import JSON, wait_for

_INTERVAL_SECONDS = 300
_LEAD_SECONDS = 40
_MAKING_SECONDS = 0.3  # to create a deployment, and for the scheduler to create its runs

Figures = dict[str, dict[str, float]]


def measure(workers: Workers, deployments: int, window_seconds: float) -> dict[str, float]:
    """Spread one tick of every deployment over the window, and return how late the runs were.

    500 deployments on a five-minute schedule, spread over all of it, are 100 ticks a minute. Each deployment
    has its own schedule with its own anchor, as usual for Prefect's interval schedules.
    """
    print(f"{deployments} deployments, a tick of each within {window_seconds:.0f} s", flush=True)
    began = time.time() + _LEAD_SECONDS + deployments * _MAKING_SECONDS
    made = [
        workers.deploy_flow(
            f"scheduled-{deployments}-{number}",
            "yeedu-pool",
            [_schedule(began + number * window_seconds / deployments)],
        )
        for number in range(deployments)
    ]
    ended = began + window_seconds
    due = {
        "deployments": {"id": {"any_": made}},
        "flow_runs": {
            "expected_start_time": {"after_": _iso(began - 1), "before_": _iso(ended + 1)},
        },
    }

    def all_scheduled() -> bool:
        return workers.api.post("flow_runs/count", due) >= deployments

    wait_for("run of every deployment, made by the scheduler", all_scheduled, began - time.time(), 1)

    def all_completed() -> list[JSON] | None:
        if time.time() < ended:
            return None
        runs = workers.api.everything("flow_runs/filter", due)
        return runs if all(run["state_type"] == "COMPLETED" for run in runs) else None

    runs = wait_for("end of the scheduled runs", all_completed, window_seconds + 300, 2)
    for deployment in made:
        workers.api.delete(f"deployments/{deployment}")
    late = [
        seconds_between(0, run["start_time"]) - seconds_between(0, run["expected_start_time"]) for run in runs
    ]
    ran = {run["deployment_id"] for run in runs}
    # By tick: if the window is a whole interval, the first deployments tick again at its end.
    ticks = {(run["deployment_id"], run["expected_start_time"]) for run in runs}
    return {
        "ticks_per_minute": deployments / window_seconds * 60,
        "lateness_p50": percentile(late, 50),
        "lateness_p99": percentile(late, 99),
        "lost": deployments - len(ran),
        "doubled": len(runs) - len(ticks),
    }


def _schedule(first_tick: float) -> JSON:
    anchor = _iso(first_tick)
    return {
        "active": True,
        "schedule": {"interval": _INTERVAL_SECONDS, "anchor_date": anchor, "timezone": "UTC"},
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def table(results: Figures) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| deployments | ticks per minute | lateness p50 | lateness p99 | lost | doubled |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for deployments, row in results.items():
        lines.append(
            f"| {deployments} | {row['ticks_per_minute']:.0f} | {row['lateness_p50']:.2f} s "
            f"| {row['lateness_p99']:.2f} s | {row['lost']:.0f} | {row['doubled']:.0f} |"
        )
    return "\n".join(lines)
