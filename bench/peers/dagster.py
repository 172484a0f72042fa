"""Dagster: a code server, the daemon with the run queue, and the webserver for its GraphQL, on Postgres.

From Dagster's own pages "Dagster OSS deployment architecture", "Deploying Dagster as a service" (for one
machine), "Run coordinators" and "Configuring run retries": a separate code server (`dagster api grpc`) that
webserver and daemon share, Postgres for all storage, `QueuedRunCoordinator`, which polls every second (5 by
default) and starts runs in threads, three retries of runs, and run monitoring. The default run launcher
starts a process for each run, in which the ops run one after another (`in_process_executor`, instead of a
process for each op). Telemetry is off.

Run monitoring asks the run launcher whether a run is alive, which the default one cannot tell (those for
Docker, ECS and Kubernetes can). So the code server reports the death of a run's process, but if both are
killed, nothing does.
"""

import json
from typing import Any

import requests
from typing_extensions import override

from bench.peers.peer import AT_ONCE, FLOWS, PAUSE_SECONDS, Peer, RunFailedError, all_must_be
from tests.platforms import free_port, wait_for

_LAUNCH = """mutation($job: String!) { launchRun(executionParams: {selector: {
    repositoryLocationName: "flows", repositoryName: "__repository__", jobName: $job}, runConfigData: {}}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_RUNS = """query($runs: [String!]) { runsOrError(filter: {runIds: $runs}) {
    ... on Runs { results { runId status endTime } } } }"""
_LOADED = """{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"""
_SCHEDULE = """mutation { startSchedule(scheduleSelector: {repositoryLocationName: "flows",
    repositoryName: "__repository__", scheduleName: "every_minute"}) {
    __typename ... on PythonError { message } } }"""
_FINAL = {"SUCCESS", "FAILURE", "CANCELED"}


class Dagster(Peer):
    """Dagster with its default run launcher."""

    name = "Dagster"
    key = "dagster"
    consists_of = "daemon with run queue, code server, webserver, Postgres"
    process_per_run = True
    saturation_runs = 24

    @override
    def start(self) -> None:
        port, code_port = free_port(), free_port()
        self._url = f"http://127.0.0.1:{port}/graphql"
        settings = {
            "storage": {"postgres": {"postgres_url": f"postgresql://{self.processes.postgres()}"}},
            "run_coordinator": {
                "module": "dagster.core.run_coordinator",
                "class": "QueuedRunCoordinator",
                "config": {
                    "max_concurrent_runs": AT_ONCE,
                    "dequeue_interval_seconds": 1,
                    "dequeue_use_threads": True,
                },
            },
            "run_monitoring": {"enabled": True},
            "run_retries": {"enabled": True, "max_retries": 3},
            "telemetry": {"enabled": False},
        }
        server = {"host": "127.0.0.1", "port": code_port, "location_name": "flows"}
        for file, content in (("dagster", settings), ("workspace", {"load_from": [{"grpc_server": server}]})):
            # JSON is YAML.
            (self.folder / f"{file}.yaml").write_text(json.dumps(content), encoding="utf-8")
        environment = self.environment() | {
            "DAGSTER_HOME": str(self.folder),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
        }
        programs = self.installed() / "bin"
        address = ("--host", "127.0.0.1", "--port")
        code = ("--python-file", str(FLOWS / "dagster_jobs.py"), "--working-directory", str(FLOWS))
        commands = {
            "code": ["dagster", "api", "grpc", *code, *address, str(code_port)],
            "webserver": [
                "dagster-webserver",
                "-w",
                "workspace.yaml",
                *address,
                str(port),
            ],
            "daemon": ["dagster-daemon", "run", "-w", "workspace.yaml"],
        }
        for name, (program, *arguments) in commands.items():
            self.processes.start(name, [str(programs / program), *arguments], environment)
        self.until("code location", lambda: bool(self._ask(_LOADED)["repositoriesOrError"].get("nodes")))

    def _ask(self, query: str, **variables: Any) -> Any:
        answer = requests.post(self._url, json={"query": query, "variables": variables}, timeout=60)
        answer.raise_for_status()
        return answer.json()["data"]

    @override
    def trigger(self, flow: str) -> str:
        launched = self._ask(_LAUNCH, job=flow)["launchRun"]
        if "run" not in launched:
            raise RunFailedError(str(launched))
        return launched["run"]["runId"]

    @override
    def wait(self, runs: list[str], timeout_seconds: float) -> list[float]:
        def ended() -> list[dict[str, Any]] | None:
            found = self._ask(_RUNS, runs=runs)["runsOrError"]["results"]
            return found if all(run["status"] in _FINAL for run in found) else None

        found = wait_for(f"end of {len(runs)} runs", ended, timeout_seconds, PAUSE_SECONDS)
        all_must_be("SUCCESS", [run["status"] for run in found])
        return [run["endTime"] for run in found]

    @override
    def kill_worker(self) -> None:
        self.processes.restart_killed("code")  # whose children are the runs

    @override
    def start_ticks(self) -> None:
        self._ask(_SCHEDULE)
