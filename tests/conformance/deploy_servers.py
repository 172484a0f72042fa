"""What a Prefect server holds of deployments, in a form that two servers can be compared by."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings
from prefect.workers.process import ProcessWorker

from tests.blocks import save_block
from tests.conformance.deploy_cases import POOL, Setup
from tests.platforms import wait_for

STATE_BLOCK = "yeedu-deployer-state"
PAGE = 200
# What a server gives each object of its own, and what only says when somebody last used it.
OF_THE_SERVER = (
    *("id", "created", "updated", "flow_id", "deployment_id", "created_by", "updated_by", "work_queue_id"),
    *("last_polled", "status", "active_slots", "owner_resource", "prefect.flow.id"),
)
MADE_UP_VERSION = "<made up by stock>"
FILE_HASH = re.compile(r"[0-9a-f]{32}")
JUST_NOW = timedelta(minutes=30)
LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
OF_THE_ENGINE = re.compile(r"Beginning flow run|Finished in state|View at|Encountered an exception|Created ")
RUN_TIMEOUT_SECONDS = 1500
# For parameters that have to be given, by their JSON type.
VALUES = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
DOCKER_TEMPLATE = {
    "job_configuration": {"image": "{{ image }}", "env": "{{ env }}", "networks": "{{ networks }}"},
    "variables": {
        "type": "object",
        "properties": {
            "image": {"type": "string", "default": "prefecthq/prefect:3-latest"},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "networks": {"type": "array", "items": {"type": "string"}},
        },
    },
}
Document = dict[str, Any]


class Holdings:
    """The deployments of one server.

    Args:
        url: Its API.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers["Connection"] = "close"  # the server may just be closing one that is idle
        self._known: set[str] = set()

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Open a client of this server, which blocks are saved through as well."""
        settings = {PREFECT_API_URL: self.url, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}
        with temporary_settings(settings), get_client(sync_client=True) as client:
            yield client

    def set_up(self, setups: list[Setup]) -> None:
        """Make the pools, variables and blocks of all cases, which must not contradict each other."""
        pools: dict[str, str] = {POOL: "process"}
        variables: dict[str, Any] = {}
        blocks: dict[str, dict[str, Any]] = {}
        for setup in setups:
            for merged, wanted in (
                (pools, setup.pools),
                (variables, setup.variables),
                (blocks, setup.blocks),
            ):
                clash = [name for name in wanted if merged.get(name, wanted[name]) != wanted[name]]
                assert not clash, f"two cases want {clash} differently"
                merged.update(wanted)
        with self.client() as client:
            for name, kind in pools.items():
                template = (
                    ProcessWorker.get_default_base_job_template() if kind == "process" else DOCKER_TEMPLATE
                )
                client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
            for name, value in variables.items():
                self._post("variables/", name=name, value=value)
            for key, fields in blocks.items():
                save_block(*key.split("/"), **fields)

    def take_new(self) -> dict[str, Document]:
        """Read the deployments that came since the last call, under `flow/name`."""
        found: dict[str, Document] = {}
        for deployment in self._all("deployments/filter"):
            if deployment["id"] in self._known:
                continue
            self._known.add(deployment["id"])
            flow = self._get(f"flows/{deployment['flow_id']}")["name"]
            automations = self._get(f"automations/related-to/prefect.deployment.{deployment['id']}")
            found[f"{flow}/{deployment['name']}"] = {**deployment, "flow": flow, "automations": automations}
        return found

    def missing(self) -> set[str]:
        """The ids of deployments that were there before, and are not any more."""
        return self._known - {deployment["id"] for deployment in self._all("deployments/filter")}

    def forget_files(self) -> None:
        """Let the deployer forget the files that it has applied: each case is a team of its own."""
        filters = {"block_documents": {"name": {"like_": STATE_BLOCK}}, "include_secrets": False}
        for document in self._post("block_documents/filter", **filters):
            self._session.delete(f"{self.url}/block_documents/{document['id']}").raise_for_status()

    def start_run(self, deployment: Document, environment: Mapping[str, str]) -> str:
        """Start a run in the environment that a worker of its team would have; returns the run's id."""
        own = deployment["job_variables"].get("env") or {}
        schema = deployment["parameter_openapi_schema"] or {}
        asked = {name: schema["properties"][name] for name in schema.get("required", ())}
        run = self._post(
            f"deployments/{deployment['id']}/create_flow_run",
            parameters={name: VALUES[said.get("type", "string")] for name, said in asked.items()}
            | deployment["parameters"],
            job_variables={"env": {**environment, **own}},
            state={"type": "SCHEDULED"},
        )
        return run["id"]

    def delete_runs(self) -> None:
        """Delete the runs that deploying has started."""
        for run in self._all("flow_runs/filter"):
            self._session.delete(f"{self.url}/flow_runs/{run['id']}").raise_for_status()

    def wait_for_runs(self, ids: list[str]) -> dict[str, tuple[str, list[str]]]:
        """Wait until all have ended; returns each one's final state and what it printed.

        Raises:
            AssertionError: They did not end in time.
        """
        deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
        ended: dict[str, str] = {}
        while len(ended) < len(ids):
            assert time.monotonic() < deadline, f"{len(ids) - len(ended)} runs have not ended in time"
            time.sleep(0.5)
            for run in self._all("flow_runs/filter"):
                if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                    ended[run["id"]] = run["state_type"]
        return {one: (ended[one], self._printed(one, is_completed=ended[one] == "COMPLETED")) for one in ids}

    def _printed(self, run: str, *, is_completed: bool) -> list[str]:
        """Return what a run printed, once the end of its log is there, which a Completed one has."""
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": PAGE}

        def read() -> tuple[list[Document]] | None:
            found = self._post("logs/filter", **wanted)
            is_whole = any(one["message"].startswith("Finished in state") for one in found)
            return (found,) if is_whole or not is_completed else None

        (logs,) = wait_for("end of a run's log", read, 120)
        return [
            log["message"]
            for log in logs
            if log["name"] in LOGGERS and log["level"] == 20 and not OF_THE_ENGINE.match(log["message"])
        ]

    def _all(self, path: str) -> list[Document]:
        found: list[Document] = []
        while True:
            page = self._post(path, limit=PAGE, offset=len(found))
            found += page
            if len(page) < PAGE:
                return found

    def _post(self, path: str, **body: Any) -> Any:
        answer = self._session.post(f"{self.url}/{path}", json=body, timeout=180)
        assert answer.ok, f"{path}: {answer.text}"
        return answer.json()

    def _get(self, path: str) -> Any:
        answer = self._session.get(f"{self.url}/{path}", timeout=180)
        assert answer.ok, f"{path}: {answer.text}"
        return answer.json()


def comparable(deployment: Document, folder: Path, commit: str) -> Document:
    """Reduce a deployment to what its author has decided.

    Where nobody gave a version, stock takes the checkout's commit, or a hash of the flow's file.

    Args:
        deployment: As the server gives it.
        folder: Where stock was run; its path stands in a pull step that stock made up.
        commit: The checkout's commit.
    """
    document = _without(deployment, deployment["id"], str(folder.resolve()))
    schedules = document["schedules"]
    document["schedules"] = sorted(schedules, key=lambda one: (str(one["schedule"]), str(one["parameters"])))
    document["automations"] = sorted(document["automations"], key=lambda one: one["name"])
    version = document["version"] or ""
    if version == commit[:8] or FILE_HASH.fullmatch(version):
        document["version"] = MADE_UP_VERSION
    return document


def _without(value: Any, own_id: str, folder: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {
            name: _without(one, own_id, folder, name)
            for name, one in value.items()
            if name not in OF_THE_SERVER
        }
    if isinstance(value, list):
        return [_without(one, own_id, folder) for one in value]
    if isinstance(value, str):
        if key == "anchor_date" and datetime.now(UTC) - datetime.fromisoformat(value) < JUST_NOW:
            return "<when it was deployed>"
        return value.replace(own_id, "<id>").replace(folder, "<checkout>")
    return value


def differences(stock: Any, ours: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """List what differs between two documents, by path."""
    if isinstance(stock, dict) and isinstance(ours, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for name in {**stock, **ours}:
            found |= differences(stock.get(name), ours.get(name), f"{path}.{name}" if path else name)
        return found
    if isinstance(stock, list) and isinstance(ours, list) and len(stock) == len(ours):
        found = {}
        for number, pair in enumerate(zip(stock, ours, strict=True)):
            found |= differences(*pair, f"{path}[{number}]")
        return found
    is_same = stock == ours and type(stock) is type(ours)
    return {} if is_same else {path: (stock, ours)}


@contextmanager
def worker(url: str, environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """A process worker of Prefect's for the pool of all cases, which polls often."""
    command = ["-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", "1"]
    settings = {"PREFECT_API_URL": url, "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_HOME": str(folder)}
    with folder.joinpath("worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", *command],
            cwd=folder,
            env={**environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)
