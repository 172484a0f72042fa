"""Flow runs in the air while a worker is stopped or killed again and again."""

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.faults.stack import Stack, YeeduJob
from tests.platforms import JSON, wait_for

RUNS = 3  # of each kill
MAX = 30  # in the air; a frozen git-server, or Yeedu, would fill the worker with them, which takes 40
HEARTBEAT_WINDOW = timedelta(seconds=90 + 30)
_DEPLOYMENT = "in-flight"


@dataclass
class Flights:
    """Flow runs of one row of the table, each with a Yeedu job of its own.

    All are of one deployment with a concurrency limit, whose slots have to be free at the end. Those that
    were hit recover while the next ones are hit, and may be hit again.

    Attributes:
        runs: The job of each flow run, by the flow run's id.
        kills: When a worker was killed.
    """

    stack: Stack
    runs: dict[str, YeeduJob] = field(default_factory=dict)
    kills: list[datetime] = field(default_factory=list)

    def await_room(self) -> None:
        """Wait until so many of those that were hit have ended that some more may start."""
        ended = {"flow_runs": {"id": {"any_": list(self.runs)}, "state": {"type": {"any_": ["COMPLETED"]}}}}

        def has_room() -> bool:
            return len(self.runs) - self.stack.api.post("flow_runs/count", ended) <= MAX - RUNS

        wait_for("room for more runs", has_room, 600)

    def start(self, longest_seconds: float, shortest_seconds: float = 0.5) -> list[YeeduJob]:
        """Start some flow runs, with jobs of random lengths."""
        if _DEPLOYMENT not in self.stack.api.deployments():
            tags = ["retry-crashed:9"]  # the last ones may be hit more often than the usual three times
            self.stack.deploy_copy(_DEPLOYMENT, "run-yeedu-job", tags=tags, concurrency_limit=500)
        jobs = [self.stack.yeedu_job(random.uniform(shortest_seconds, longest_seconds)) for _ in range(RUNS)]
        self.runs |= {self.stack.start_yeedu(job, _DEPLOYMENT): job for job in jobs}
        return jobs

    def await_running(self) -> None:
        """Wait until the newest flow run is Running."""
        self.stack.await_state(next(reversed(self.runs)), "RUNNING")

    def kill_worker(self) -> None:
        """Kill the worker at this moment."""
        self.stack.kill("worker")
        self.kills.append(datetime.now(UTC))

    def land(self, beside: Collection[str] = ()) -> str:
        """Wait for the end of all; each has run once on Yeedu, and none keeps a slot. Return it in words.

        Args:
            beside: Flow runs that go on, and are none of these.
        """
        starts: Counter[int] = Counter()
        for run_id, job in self.runs.items():
            run = self.stack.succeeded(run_id, timeout_seconds=900)
            starts[run["run_count"]] += 1
            remote = self.stack.remote_runs(job)
            assert [one["run_status"] for one in remote] == ["DONE"], (run_id, remote)
        assert [run["id"] for run in self.stack.unfinished() if run["id"] not in beside] == []
        wait_for("free slots", lambda: not self.stack.slots_taken(), 60)
        told = ", ".join(f"{count} at start {start}" for start, count in sorted(starts.items()))
        return f"{len(self.runs)} flow runs Completed ({told}), {len(self.runs)} remote runs, no slot taken"

    def recovery(self) -> str:
        """Tell what the kills hit, and check that nobody was RUNNING without a process for too long.

        At least one that was RUNNING has to be among them, or nothing was shown.
        """
        hit: Counter[str] = Counter()
        silences: list[timedelta] = []
        for run_id in self.runs:
            states = self._states(run_id)
            for kill in self.kills:
                before = [state for state in states if _moment(state) <= kill]
                after = [state for state in states if _moment(state) > kill]
                if not before or not after:
                    continue
                hit[before[-1]["name"]] += 1
                if before[-1]["type"] == "RUNNING":
                    assert after[0]["name"] == "Crashed", (run_id, self.stack.history(run_id))
                    silences.append(_moment(after[0]) - kill)
                    assert silences[-1] <= HEARTBEAT_WINDOW, (run_id, self.stack.history(run_id))
        assert silences, f"no kill hit a run while it was Running: {dict(hit)}"
        told = ", ".join(f"{count} {name}" for name, count in hit.most_common())
        return f"hit while {told}; a Running one was noticed within {max(silences).total_seconds():.0f} s"

    def _states(self, run_id: str) -> list[JSON]:
        return sorted(self.stack.api.get(f"flow_run_states/?flow_run_id={run_id}"), key=_moment)


def _moment(state: JSON) -> datetime:
    return datetime.fromisoformat(state["timestamp"])
