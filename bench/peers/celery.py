"""Celery: a worker with ten processes, and Redis for both its queue and its results.

From Celery's own pages "Optimizing", "Tasks" and "Using Redis": a task is acknowledged when it has ended,
returns to the queue if its process is lost (`task_acks_late`, `task_reject_on_worker_lost`), and is taken
only when a process is free for it. On Redis, the tasks of a worker that is itself killed return after the
visibility timeout, one hour by default, which has to exceed the longest task. Its processes are started once,
not for each task: a bound on what warm workers cost.
"""

from typing_extensions import override

from bench.peers.library import Library
from bench.peers.peer import AT_ONCE, FLOWS


class Celery(Library):
    """Celery on Redis."""

    name = "Celery"
    key = "celery"
    consists_of = "worker with ten warm processes, Redis"
    saturation_runs = 5000

    @override
    def start(self) -> None:
        self._environment = self.environment() | {
            "BENCH_BROKER": self.processes.redis(),
            "PYTHONPATH": str(FLOWS),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._start("worker", "--concurrency", str(AT_ONCE), "--without-gossip", "--without-mingle")
        self.connect(self._environment)
        self.wait([self.trigger("empty")], 120)

    def _start(self, service: str, *arguments: str) -> None:
        program = str(self.installed() / "bin" / "celery")
        command = [program, "--app", "celery_tasks", service, *arguments]
        self.processes.start(service, command, self._environment)

    @override
    def kill_worker(self) -> None:
        self.processes.restart_killed("worker")

    @override
    def start_ticks(self) -> None:
        self._start("beat")
