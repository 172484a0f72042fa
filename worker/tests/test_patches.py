"""The worker's patches are in force on the Prefect of the locks; on another one, Prefect's own way runs."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from own_process import run_python
from prefect.utilities.dispatch import lookup_type
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessWorker
from prefect_processes import OURS, PrefectServer, commit, worker

from yeedu_worker import draining
from yeedu_worker.patch_report import last_report
from yeedu_worker.patches import report
from yeedu_worker.patches.process_worker import leave_out_requests
from yeedu_worker.patching import IN_FORCE, KNOWN_RELEASES, LEFT_OUT

UNKNOWN = "import prefect\nprefect.__version__ = '3.99.0'\n"
LOST = "from prefect.workers.base import BaseWorker\ndel BaseWorker._submit_run\n"
FLOW = """
from prefect import flow, flow_engine
from prefect.client.base import PrefectHttpxSyncClient
from prefect.client.orchestration import ssl
from prefect.runner.storage import GitRepository

@flow(log_prints=True)
def look():
    found = (flow_engine._send_heartbeats, PrefectHttpxSyncClient._send_with_retry, GitRepository._clone_repo)
    print("in force:", *sorted({one.__module__ for one in found}), type(ssl).__name__)
"""
GROUPS = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import anyio
from prefect.workers import process
from yeedu_worker.patches.process_worker import separate_process_groups

async def group_of_a_run():
    flow_run = SimpleNamespace(id=uuid4(), name="any", deployment_id=None, job_variables={})
    file, program = Path(sys.argv[1]), Path(sys.argv[1] + ".py")
    program.write_text(f"import os; open('{file}', 'w').write(str(os.getpgid(0)))")
    starter = process.EngineCommandStarter(command=f"{sys.executable} {program}", cwd=file.parent, env={})
    await starter.start(flow_run)
    return int(file.read_text())

found = [anyio.run(group_of_a_run) == os.getpgid(0)]
separate_process_groups()
print(json.dumps([*found, anyio.run(group_of_a_run) == os.getpgid(0)]))
"""
REPORT = """
import json
from dataclasses import asdict
from yeedu_worker.patches import report
print(json.dumps([asdict(state) for state in report()]))
"""


def pretend(folder: Path, code: str) -> str:
    """Make every Python with this search path run the code first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return str(folder)


def test_every_patch_is_in_force_on_the_prefect_of_the_locks(tmp_path: Path) -> None:
    assert version("prefect") == KNOWN_RELEASES[-1]
    states = run_python(REPORT, tmp_path)
    assert {state["name"]: state["why"] for state in states if state["state"] != IN_FORCE} == {}
    assert len({state["name"] for state in states}) == len(states) == 13
    assert all(state["replaces"] and state["why"] for state in states)


def test_prefects_own_process_worker_stays_the_one_of_its_type() -> None:
    assert issubclass(draining.DrainingWorker, ProcessWorker)
    assert lookup_type(BaseWorker, "process") is ProcessWorker


def test_run_whose_command_the_pool_chooses_has_a_process_group_of_its_own(tmp_path: Path) -> None:
    assert run_python(GROUPS, tmp_path, str(tmp_path / "group")) == [True, False]


def test_start_of_a_run_makes_two_requests_less(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("_propose_submitting_state", "_give_worker_labels_to_flow_run"):

        async def note(_: ProcessWorker, __: object, name: str = name) -> None:
            asked.append(name)

        monkeypatch.setattr(ProcessWorker, name, note)
    one: Any = draining.DrainingWorker(limit=1, work_pool_name="pool")

    async def start() -> None:
        await one._give_worker_labels_to_flow_run(uuid4())
        await one._propose_submitting_state(None)

    anyio.run(start)
    assert asked == []
    monkeypatch.setitem(vars(leave_out_requests), "why_not", "this Prefect is not known")
    anyio.run(start)
    assert asked == ["_give_worker_labels_to_flow_run", "_propose_submitting_state"]


def test_worker_on_a_prefect_that_it_does_not_know_runs_flows_as_that_does(
    server: PrefectServer, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    commit(repository, {"flows.py": FLOW})
    server.make_pool("unknown-release", OURS)
    deployment = server.deploy("look", "flows.py:look", repository.as_uri(), work_pool_name="unknown-release")
    search = pretend(tmp_path / "pretended", UNKNOWN)
    with worker(server, "unknown-release", tmp_path / "worker", PYTHONPATH=search) as started:
        assert server.await_state(server.start_run(deployment))["state_type"] == "COMPLETED"
        started.await_log("in force: prefect.client.base prefect.flow_engine prefect.runner.storage module")
        log = started.log_file.read_text()
        [home] = {file.parent for file in tmp_path.rglob("worker-patches.json")}
    [told] = [line for line in log.splitlines() if "Prefect's own code runs in place of" in line]
    assert "Prefect 3.99.0 is not known" in told
    assert log.count("yeedu-prefork: left out, flow runs start without it: Prefect 3.99.0 is not known") == 1
    assert "running python -m prefect.engine instead" in log
    assert "hand-over" not in told, "what keeps two processes from one flow run is there"
    assert last_report(home) in told
    kept = json.loads((home / "worker-patches.json").read_text())["patches"]
    names = {state.name for state in report()}
    assert {state["name"] for state in kept if state["state"] == LEFT_OUT} == names - {"hand-over"}


def test_worker_refuses_a_prefect_with_which_two_processes_could_have_one_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "yeedu_worker.serve", "--pool", "any", "--name", "any"]
    done = subprocess.run(
        [*command, "--limit", "1", "--grace-seconds", "1"],
        env={
            **os.environ,
            "PYTHONPATH": pretend(tmp_path / "pretended", LOST),
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_API_URL": "http://127.0.0.1:9/api",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert sentence == (
        f"worker: Prefect {version('prefect')} cannot be used: prefect.workers.base:BaseWorker._submit_run "
        "is not there, by which no flow run has two processes at a time, and none is left behind; "
        f"use Prefect {KNOWN_RELEASES[-1]}"
    )


@pytest.mark.parametrize("text", ["", "{", "{}"])
def test_report_that_cannot_be_read_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "worker-patches.json").write_text(text)
    assert last_report(tmp_path) == ""
    assert last_report(tmp_path / "none") == ""
