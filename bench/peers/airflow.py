"""Airflow: scheduler with LocalExecutor, DAG processor and API server, on Postgres.

From Airflow's own pages "Production Deployment", "Local Executor" and "Scheduler": Postgres, a process for
each component, and an explicit parallelism. There is no triggerer, as no task here is deferred; examples and
the collection of usage data are off. Each task has its own process, and three retries, after a second instead
of five minutes. The liveness of a task's process is judged by its heartbeats, with the default timeout of
300 s (`task_instance_heartbeat_timeout`); a dead scheduler's orphans are looked for at the same interval
(`orphaned_tasks_check_interval`).
"""

import secrets
from datetime import datetime
from typing import Any

import requests
from typing_extensions import override

from bench.peers.peer import AT_ONCE, FLOWS, PAUSE_SECONDS, Peer, all_must_be
from tests.platforms import free_port, wait_for

_PAGE = 100


class Airflow(Peer):
    """Airflow with LocalExecutor."""

    name = "Airflow"
    key = "airflow"
    consists_of = "scheduler with LocalExecutor, DAG processor, API server, Postgres"
    process_per_run = True
    saturation_runs = 30

    @override
    def start(self) -> None:
        dags = self.folder / "dags"
        dags.mkdir()
        for file in ("airflow_dags.py", "work.py"):
            (dags / file).write_bytes((FLOWS / file).read_bytes())
        (dags / ".airflowignore").write_text("work.py\n", encoding="utf-8")
        self._url = f"http://127.0.0.1:{free_port()}"
        environment = self.environment() | self._settings(self.processes.postgres())
        airflow = str(self.installed() / "bin" / "airflow")
        self.processes.run([airflow, "db", "migrate"], environment)
        for service in ("api-server", "scheduler", "dag-processor"):
            self.processes.start(service, [airflow, service], environment)
        self.until("answer of Airflow", self._has_token)
        self.until("DAGs", lambda: self._get("dags", limit=_PAGE)["total_entries"] == 5)

    def _settings(self, database: str) -> dict[str, str]:
        settings = {
            "core": {
                "dags_folder": str(self.folder / "dags"),
                "executor": "LocalExecutor",
                "parallelism": str(AT_ONCE),
                "load_examples": "False",
                "dags_are_paused_at_creation": "False",
                "simple_auth_manager_all_admins": "True",
                "execution_api_server_url": f"{self._url}/execution/",
                "fernet_key": "",
            },
            "api": {
                "host": "127.0.0.1",
                "port": self._url.rpartition(":")[2],
                "secret_key": secrets.token_hex(16),
            },
            "api_auth": {"jwt_secret": secrets.token_hex(32)},
            "database": {"sql_alchemy_conn": f"postgresql+psycopg2://{database}"},
            "logging": {"worker_log_server_port": str(free_port())},
            "scheduler": {"enable_health_check": "False"},
            "usage_data_collection": {"enabled": "False"},
        }
        variables = {
            f"AIRFLOW__{section}__{name}".upper(): value
            for section, values in settings.items()
            for name, value in values.items()
        }
        return variables | {"AIRFLOW_HOME": str(self.folder), "SCARF_ANALYTICS": "false"}

    def _has_token(self) -> bool:
        answer = requests.get(f"{self._url}/auth/token", timeout=30)
        answer.raise_for_status()
        self._headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return True

    def _get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, params=query)

    def _ask(self, method: str, path: str, **how: Any) -> Any:
        answer = requests.request(
            method, f"{self._url}/api/v2/{path}", headers=self._headers, timeout=60, **how
        )
        answer.raise_for_status()
        return answer.json()

    @override
    def trigger(self, flow: str) -> str:
        run = self._ask("POST", f"dags/{flow}/dagRuns", json={"logical_date": None})
        return f"{flow}/dagRuns/{run['dag_run_id']}"

    @override
    def wait(self, runs: list[str], timeout_seconds: float) -> list[float]:
        flow = runs[0].partition("/")[0]

        def ended() -> list[dict[str, Any]] | None:
            found = self._get(f"dags/{flow}/dagRuns", limit=_PAGE, order_by="-run_after")["dag_runs"]
            mine = [run for run in found if f"{flow}/dagRuns/{run['dag_run_id']}" in runs and run["end_date"]]
            return mine if len(mine) == len(runs) else None

        found = wait_for(f"end of {len(runs)} runs", ended, timeout_seconds, PAUSE_SECONDS)
        all_must_be("success", [run["state"] for run in found])
        return [datetime.fromisoformat(run["end_date"]).timestamp() for run in found]

    @override
    def kill_worker(self) -> None:
        self.processes.restart_killed("scheduler")  # whose children run the tasks

    @override
    def start_ticks(self) -> None:
        self._ask("PATCH", "dags/tick", json={"is_paused": False})
