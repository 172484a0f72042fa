"""This platform, in containers as `make up` starts it, with its defaults and Postgres.

Its flows are in its repository, and cloned for each run; a run that dies is restarted, as their deployments
have the tag `retry-crashed`. CPU is that of all services except the mock Yeedu and the warehouse, which stand
in for other systems.
"""

import json
from pathlib import Path

from typing_extensions import override

from bench import docker_stats
from bench.peers.peer import FLOWS
from bench.peers.stock_prefect import FLOW_NAMES, OnPrefect
from tests.platforms import ComposePlatform, commit, copy_checkout

_SERVICES = ("server", "postgres", "worker", "rescue", "yeedu-watch", "git-server")


class Ours(OnPrefect):
    """The platform as compose services."""

    name = "this platform"
    key = "ours"
    consists_of = "all services, in containers, Postgres among them"
    process_per_run = True
    saturation_runs = 110

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._platform: ComposePlatform | None = None  # until it is started

    @property
    @override
    def version(self) -> str:
        return (FLOWS.parents[2] / "VERSION").read_text(encoding="utf-8").strip()

    @override
    def start(self) -> None:
        checkout = self.folder / "yeedu-prefect"
        copy_checkout(checkout)
        for file in ("prefect_flows.py", "work.py"):
            (checkout / "flows" / file).write_bytes((FLOWS / file).read_bytes())
        declared = "".join(
            f"\n  - name: bench-{flow}\n    tags: [retry-crashed]\n"
            f"    entrypoint: flows/prefect_flows.py:{flow}\n    work_pool: *linux\n"
            for flow in FLOW_NAMES
        )
        with (checkout / "deployer" / "prefect.yaml").open("a", encoding="utf-8") as file:
            file.write(declared)
        commit(checkout, "Add flows")
        marks = {"volumes": [f"{self.marks}:/marks"], "environment": {"BENCH_MARKS": "/marks"}}
        overlay = json.dumps({"services": {"worker": marks}})
        (checkout / "docker-compose.override.yaml").write_text(overlay, encoding="utf-8")
        self.marks.chmod(0o777)  # the worker's user does not exist on this machine
        self._platform = platform = ComposePlatform(checkout)
        platform.up()
        platform.stop_schedules()
        self.api = platform.api
        found = self.api.deployments()
        self.deployments = {flow: found[f"bench-{flow}"]["id"] for flow in FLOW_NAMES}

    @override
    def cpu_seconds(self) -> float:
        return sum(docker_stats.usage(self._container(service)).cpu_seconds for service in _SERVICES)

    @override
    def kill_worker(self) -> None:
        worker = self._container("worker")
        for command in ("kill", "start"):
            self._platform.must("docker", command, worker)

    @override
    def stop(self) -> None:
        if self._platform:
            self._platform.remove()

    def _container(self, service: str) -> str:
        return self._platform.container(service)
