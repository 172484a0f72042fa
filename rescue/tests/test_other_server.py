"""Another server than the platform's own: it asks for a key, may be Prefect Cloud, and others use it too."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shifted_server import ShiftedServer

from tests.keyed_server import KeyedServer
from tests.platforms import wait_for
from tests.prefect_process import PrefectProcess
from yeedu_rescue.errors import ServerRefused
from yeedu_rescue.reconciler import Reconciler
from yeedu_rescue.rules.heartbeats import DEFAULT_SECONDS, ELSEWHERE_SECONDS
from yeedu_rescue.server import Server
from yeedu_rescue.settings import Settings

KEY = "canary-of-the-key"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectProcess]:
    with PrefectProcess(tmp_path_factory.mktemp("behind")) as server:
        yield server


@pytest.fixture(params=["cloud", "gateway"])
def keyed(behind: PrefectProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[KeyedServer]:
    server = KeyedServer(behind.url, tmp_path / "journal", KEY, is_cloud=request.param == "cloud")
    with server.running():
        yield server


def test_rounds_succeed_with_the_key_and_say_what_is_wrong_without(keyed: KeyedServer) -> None:
    reconciler = Reconciler(Server(keyed.url, api_key=KEY), Settings(keyed.url, api_key=KEY), time.monotonic)
    for _ in range(2):
        reconciler.run_once()
        assert reconciler.failures == []
    assert keyed.refused() == []
    assert [line for line in keyed.asked() if line.startswith("404 GET ready")] == (
        ["404 GET ready"] if keyed.is_cloud else []
    )
    with pytest.raises(ServerRefused, match="check PREFECT_API_KEY or its file") as caught:
        Server(keyed.url, api_key="canary-wrong").check()
    assert "canary" not in str(caught.value)
    with pytest.raises(ServerRefused, match="check PREFECT_API_AUTH_STRING or its file"):
        Server(keyed.url).check()


def test_silent_runs_are_judged_only_where_events_come_through(keyed: KeyedServer) -> None:
    """Which events Prefect Cloud takes over HTTP is not known here: without an answer no run is crashed."""
    received: dict[str, timedelta] = {}
    server, behind = ShiftedServer(keyed.url, received, api_key=KEY), ShiftedServer(keyed.upstream, received)
    reconciler = Reconciler(server, Settings(keyed.url, api_key=KEY), lambda: server.shift.total_seconds())
    flow = server.post("/flows/", {"name": "silent"})
    run = server.post("/flow_runs/", {"flow_id": flow["id"], "state": {"type": "RUNNING"}})["id"]
    resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
    beat = {"id": str(uuid.uuid4()), "event": "prefect.flow-run.heartbeat", "resource": resource}
    behind.post("/events", [{**beat, "occurred": datetime.now(UTC).isoformat()}])
    behind.check()

    def is_there(**conditions: Any) -> bool:
        return bool(behind.events(conditions, 1))

    def has_been_asked() -> bool:
        if keyed.is_cloud:
            return "404 POST events" in keyed.asked()
        return is_there(event={"name": ["yeedu-prefect.rescue.silence"]})

    wait_for("heartbeat", lambda: is_there(id={"id": [beat["id"]]}), 90, 0.05)
    while server.shift < timedelta(seconds=ELSEWHERE_SECONDS + 60):
        reconciler.run_once()
        assert reconciler.failures == []
        if server.shift > timedelta(seconds=ELSEWHERE_SECONDS - DEFAULT_SECONDS + 20):
            wait_for("question to the run", has_been_asked, 90, 0.05)
        server.shift += timedelta(seconds=20)

    def state() -> str:
        return server.get(f"/flow_runs/{run}")["state"]["type"]

    def is_crashed() -> bool:
        """The answer to the last question may come through after its round."""
        reconciler.run_once()
        return state() == "CRASHED"

    if keyed.is_cloud:
        assert state() == "RUNNING"
    else:
        wait_for("crashed run", is_crashed, 90, 0.2)
    server.delete(f"/flow_runs/{run}")


def test_only_the_named_work_pools_are_looked_after(behind: PrefectProcess) -> None:
    server = Server(behind.url)
    elapsed_seconds = 0.0
    settings = Settings(behind.url, work_pools=("ours",), attempts=0)
    reconciler = Reconciler(server, settings, lambda: time.monotonic() + elapsed_seconds)
    runs: dict[str, str] = {}
    for pool in ("ours", "theirs"):
        server.post("/work_pools/", {"name": pool, "type": "process", "base_job_template": {}})
        flow = server.post("/flows/", {"name": "started"})
        body = {"name": pool, "flow_id": flow["id"], "work_pool_name": pool}
        deployment = server.post("/deployments/", body)["id"]
        path = f"/deployments/{deployment}/create_flow_run"
        runs[pool] = server.post(path, {"state": {"type": "PENDING"}})["id"]
    for _ in range(12):
        reconciler.run_once()
        elapsed_seconds += 20
    states = {pool: server.get(f"/flow_runs/{run}")["state"]["type"] for pool, run in runs.items()}
    assert states == {"ours": "CRASHED", "theirs": "PENDING"}
