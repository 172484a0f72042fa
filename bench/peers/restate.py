"""Restate: its server, which keeps its own journal, and a service in Python.

From Restate's own pages "Serving" and "Server configuration": a service behind Hypercorn with the settings
for production, a process for each core, ten invocations at a time (`concurrent-invocations-limit`), and the
default retries: without end, with backoff. The server's binary is that of its npm package. A run resumes
after its last completed step. Handlers run in existing processes: a bound on what warm workers cost.
Telemetry is off.
"""

import os
import subprocess
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import requests
from typing_extensions import override

from bench.peers.peer import AT_ONCE, ENVIRONMENTS, FLOWS, PAUSE_SECONDS, Peer, all_must_be
from tests.platforms import free_port, wait_for

_SERVER = "@restatedev/restate-server-linux-x64"
_VERSION = "1.7.12"
_WITHOUT_LIMIT = 2**31 - 1
_HYPERCORN = f"""workers = {os.cpu_count()}
h2_max_concurrent_streams = {_WITHOUT_LIMIT}
keep_alive_max_requests = {_WITHOUT_LIMIT}
keep_alive_timeout = {_WITHOUT_LIMIT}
"""


class Restate(Peer):
    """Restate's server with a service in Python."""

    name = "Restate"
    key = "restate"
    consists_of = "server, a service process for each core; no database"
    process_per_run = False
    saturation_runs = 2000
    not_measured: ClassVar[dict[str, str]] = {"ticks": "it has no schedules"}

    @property
    @override
    def version(self) -> str:
        return _VERSION

    @override
    def start(self) -> None:
        server = self._server()
        self._session = (
            requests.Session()
        )  # a connection for each of thousands of triggers would be the limit
        ingress, admin, node, service = (free_port() for _ in range(4))
        self._ingress, self._admin = f"http://127.0.0.1:{ingress}", f"http://127.0.0.1:{admin}"
        settings = {
            "RESTATE_BASE_DIR": str(self.folder / "data"),
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
            "RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT": str(AT_ONCE),
        }
        self.processes.start("server", [str(server)], self.environment() | settings)
        variables = self.environment() | {"PYTHONPATH": str(FLOWS), "PYTHONDONTWRITEBYTECODE": "1"}
        hypercorn = str(self.installed() / "bin" / "hypercorn")
        bind = ("--config", "hypercorn.toml", "--bind", f"127.0.0.1:{service}")
        (self.folder / "hypercorn.toml").write_text(_HYPERCORN, encoding="utf-8")
        self.processes.start("service", [hypercorn, *bind, "restate_service:app"], variables)
        self.until("answer of Restate", lambda: requests.get(f"{self._admin}/health", timeout=5).ok)
        self.until("service", lambda: self._register(f"http://127.0.0.1:{service}"))

    def _server(self) -> Path:
        folder = ENVIRONMENTS / f"restate-server-{_VERSION}"
        binary = folder / "node_modules" / _SERVER / "bin" / "restate-server"
        if not binary.exists():
            install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
            subprocess.run([*install, f"{_SERVER}@{_VERSION}"], check=True, timeout=600)
        return binary

    def _register(self, service: str) -> bool:
        return requests.post(f"{self._admin}/deployments", json={"uri": service}, timeout=30).ok

    @override
    def trigger(self, flow: str) -> str:
        # With a key, the outcome is kept after the end.
        key = {"Idempotency-Key": uuid.uuid4().hex}
        answer = self._session.post(f"{self._ingress}/flows/{flow}/send", headers=key, timeout=30)
        answer.raise_for_status()
        return answer.json()["invocationId"]

    @override
    def wait(self, runs: list[str], timeout_seconds: float) -> list[float]:
        wanted = ", ".join(f"'{run}'" for run in runs)
        query = (
            "SELECT completion_result, completed_at "  # noqa: S608
            f"FROM sys_invocation WHERE status = 'completed' AND id IN ({wanted})"
        )

        def ended() -> list[dict[str, Any]] | None:
            asked = {"json": {"query": query}, "headers": {"Accept": "application/json"}}
            answer = requests.post(f"{self._admin}/query", timeout=60, **asked)
            answer.raise_for_status()
            rows = answer.json()["rows"]
            return rows if len(rows) == len(runs) else None

        found = wait_for(f"end of {len(runs)} runs", ended, timeout_seconds, PAUSE_SECONDS)
        all_must_be("success", [row["completion_result"] for row in found])
        return [datetime.fromisoformat(row["completed_at"]).timestamp() for row in found]

    @override
    def kill_worker(self) -> None:
        self.processes.restart_killed("service")

    @override
    def start_ticks(self) -> None:
        raise NotImplementedError(self.not_measured["ticks"])
