"""DBOS: an application with its queue, workflows and schedule in Postgres.

From DBOS's own pages "Deploying To Production", "Self-Hosting" (on a single server) and "Queues &
Concurrency": Postgres, a queue of ten at a time, and a fixed application version, so that a restarted process
resumes the workflows of the killed one after their last completed step. The queue is polled every 0.1 s: at
the default of a second, it would start at most ten runs a second. Workflows run in threads of one existing
process: a bound on what warm workers cost.
"""

from typing_extensions import override

from bench.peers.library import Library
from bench.peers.peer import FLOWS


class Dbos(Library):
    """DBOS on Postgres."""

    name = "DBOS"
    key = "dbos"
    consists_of = "one application process, Postgres"
    saturation_runs = 1500

    @override
    def start(self) -> None:
        environment = self.environment() | {
            "BENCH_DATABASE": f"postgresql+psycopg://{self.processes.postgres()}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        program = [str(self.installed() / "bin" / "python"), str(FLOWS / "dbos_workflows.py")]
        self.processes.start("application", program, environment)
        log = self.folder / "application.log"
        self.until("application", lambda: "DBOS launched" in log.read_text(encoding="utf-8"))
        self.connect(environment)

    @override
    def kill_worker(self) -> None:
        self.processes.restart_killed("application")

    @override
    def start_ticks(self) -> None:
        self.trigger("tick")
