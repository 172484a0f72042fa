"""A flow run asks less of the server than with Prefect's own engine, and leaves the same behind."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prefect_processes import OURS, STOCK, PrefectServer, commit, worker

from tests.platforms import ROOT, wait_for
from tests.prefect_process import PrefectProcess

FLOWS = """
from prefect import flow, task

@task
def square(number):
    return number * number

@flow(log_prints=True)
def squares():
    print("the sum is", sum(square(number) for number in range(3)))
"""
ENDS = ("prefect.flow-run.Completed", "prefect.worker.executed-flow-run")


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    folder = tmp_path_factory.mktemp("counting")
    with PrefectProcess(folder, program=[str(ROOT / "bench" / "counting_server.py")]) as process:
        yield PrefectServer(process.url, folder)


def counts(server: PrefectServer) -> dict[str, float]:
    found = requests.get(f"{server.url.removesuffix('/api')}/counts", timeout=90).json()
    # Not those websockets over which messages came, but which were open before.
    return {call: row["times"] for call, row in found.items() if row.get("times")}


def events(server: PrefectServer, run: str) -> list[dict[str, Any]]:
    body = {"filter": {"any_resource": {"id": [f"prefect.flow-run.{run}"]}}, "limit": 50}
    return server.api.post("events/filter", body)["events"]


def left_behind(server: PrefectServer, run: str) -> dict[str, Any]:
    """Return the events and logs of a run and the states of its tasks, without what is each run's own."""

    def look() -> list[dict[str, Any]] | None:
        found = events(server, run)
        names = Counter(event["event"] for event in found)
        return found if names["prefect.task-run.Completed"] == 3 and all(names[end] for end in ENDS) else None

    found = wait_for("events of the run", look, 90)
    filter_of_run = {"flow_runs": {"id": {"any_": [run]}}}
    name = server.api.get(f"flow_runs/{run}")["name"]

    def tasks() -> list[str] | None:
        states = sorted(one["state_name"] for one in server.api.post("task_runs/filter", filter_of_run))
        return states if states == ["Completed"] * 3 else None

    return {
        "events": Counter(
            (event["event"], tuple(sorted(one["prefect.resource.role"] for one in event["related"])))
            for event in found
            if event["event"] != "prefect.flow-run.heartbeat"  # of which a short run sends none
        ),
        "logs": sorted(
            re.sub(r"-[0-9a-f]{3}\b|[0-9a-f]{8}-[0-9a-f-]{27}", "", line.replace(name, "NAME"))
            for line in server.api.log(run).splitlines()
            if "worker" not in line.lower() and "process" not in line.lower()
        ),
        "tasks": wait_for("end of the tasks", tasks, 90),
    }


@pytest.mark.timeout(600)
def test_run_makes_fewer_calls_and_leaves_the_same(counting: PrefectServer, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    commit(repository, {"flows.py": FLOWS})
    counting.make_pool("counted", OURS)
    made: dict[str, tuple[dict[str, float], dict[str, Any]]] = {}
    with worker(counting, "counted", tmp_path / "worker", PREFECT_WORKER_QUERY_SECONDS="60") as started:
        started.await_log("following triggers")  # over a websocket of the worker's own
        for command in (STOCK, OURS):
            deployment = counting.deploy(
                command,
                "flows.py:squares",
                repository.as_uri(),
                work_pool_name="counted",
                job_variables={"command": command},
            )
            counts(counting)
            run = counting.start_run(deployment)
            counting.await_state(run, "COMPLETED")
            found = left_behind(counting, run)
            made[command] = (counts(counting), found)
    (stock, theirs), (ours, own) = made[STOCK], made[OURS]
    assert own == theirs
    assert stock["websocket /events/in"] >= 2
    assert "websocket /events/in" not in ours
    assert (stock["GET /admin/storage"], ours["GET /admin/storage"]) == (2, 1)
    assert "GET /csrf-token" not in ours
    assert "GET /admin/version" not in ours
