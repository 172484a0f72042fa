"""A worker of a server that asks for a key on every request and websocket: Prefect Cloud, or a gateway's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.keyed_server import KeyedServer
from tests.platforms import Api, wait_for
from tests.prefect_process import PrefectProcess

ATTACH = [sys.executable, "-X", "utf8", str(Path(__file__).parents[1] / "attach")]
KEY = "canary-of-the-key"
FLOW = """
import time
from prefect import flow, task

@task
def add_one(number):
    return number + 1

@flow(log_prints=True)
def say():
    print("the task says", add_one(1))
    time.sleep(15)  # longer than it takes to the first heartbeat, also on a busy machine
"""

pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectProcess]:
    with PrefectProcess(tmp_path_factory.mktemp("behind")) as server:
        yield server


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("flows")
    (folder / "say.py").write_text(FLOW)
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for command in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "-q", "--message", "Start"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder.as_uri()


@pytest.fixture(params=["cloud", "gateway"])
def keyed(behind: PrefectProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[KeyedServer]:
    server = KeyedServer(behind.url, tmp_path / "journal", KEY, is_cloud=request.param == "cloud")
    with server.running():
        yield server


def made_deployment(api: Api, pool: str) -> str:
    api.post("work_pools/", {"name": pool, "type": "process"})
    flow = api.post("flows/", {"name": "say"})
    clone = {"prefect.deployments.steps.git_clone": {"repository": "{{ $FLOWS_GIT_URL }}"}}
    body = {"name": pool, "flow_id": flow["id"], "entrypoint": "say.py:say", "work_pool_name": pool}
    variables = {"job_variables": {"command": "yeedu-flow-run"}}
    return api.post("deployments/", {**body, **variables, "pull_steps": [clone]})["id"]


def attach(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ATTACH, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=200,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the platform's own worker is of Linux")
def test_worker_joins_runs_a_flow_and_leaves(
    behind: PrefectProcess, keyed: KeyedServer, flows: str, tmp_path: Path
) -> None:
    """Every request and websocket tells the key: task runs and heartbeats arrive, and it shows nowhere."""
    api, pool = Api(behind.url), "of-cloud" if keyed.is_cloud else "behind-gateway"
    deployment = made_deployment(api, pool)
    folder, key = tmp_path / "worker", tmp_path / "key"
    key.write_text(f"{KEY}\n")
    place = ["--server", keyed.url, "--folder", str(folder), "--pool", pool, "--name", "box"]
    options = [*place, "--flows-git-url", flows, "--environment", sys.prefix]

    asked = attach("check", *options)
    assert "WRONG  server" in asked.stdout
    key.with_name("wrong").write_text("canary-wrong")
    wrong = attach("check", *options, "--api-key-file", str(key.with_name("wrong")))
    assert f"{keyed.url} refuses this key; put its PREFECT_API_KEY into a file" in wrong.stdout
    keyed.journal.write_text("")

    checked = attach("check", *options, "--api-key-file", str(key))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "ok     login    accepted" in checked.stdout
    assert ("the server tells none, as Prefect Cloud" in checked.stdout) == keyed.is_cloud

    command = [*ATTACH, "run", *options, "--api-key-file", str(key), "--query-seconds", "1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            path = f"work_pools/{pool}/workers/filter"
            wait_for("worker", lambda: [one["name"] for one in api.post(path)] == ["box"], 200)
            made = api.post(f"deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}})[
                "id"
            ]
            run = api.finished(made)
            assert run["state_type"] == "COMPLETED", api.log(made)
            api.log_with(made, "the task says 2")

            def task_runs() -> list[Any]:
                return api.post("task_runs/filter", {"flow_runs": {"id": {"any_": [made]}}})

            [task] = wait_for("task run, which comes as an event", task_runs, 60)
            assert task["state_type"] == "COMPLETED"
            beats = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
            beats["resource"] = {"id": [f"prefect.flow-run.{made}"]}
            wait_for("heartbeat", lambda: api.post("events/filter", {"filter": beats})["events"], 60)
            environments = "".join(_command_lines(str(folder)))
            detached = attach("detach", "--folder", str(folder))
            assert detached.returncode == 0, detached.stderr
            assert process.wait(60) == 0
        finally:
            if process.poll() is None:
                process.kill()
    assert keyed.refused() == []
    assert api.post(path) == []
    assert not folder.exists()
    told = checked.stdout + wrong.stdout + detached.stdout + environments + api.log(made)
    assert "canary" not in told + str(api.post("events/filter", {"filter": {}, "limit": 50}))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PREFECT_API_KEY": "canary-wrong"}, "rejects the API key; check PREFECT_API_KEY or its file"),
        (
            {"PREFECT_API_AUTH_STRING": "me:canary-wrong"},
            "rejects the login; check PREFECT_API_AUTH_STRING or its file",
        ),
        ({}, "asks for a login; set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for a key"),
    ],
)
def test_worker_that_is_refused_says_so_in_one_sentence(
    keyed: KeyedServer, tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PREFECT_API_URL": keyed.url,
        **variables,
    }
    options = ["--pool=any", "--name=box", "--limit=1", "--grace-seconds=1"]
    done = subprocess.run(
        [sys.executable, "-m", "yeedu_worker.serve", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"worker: {keyed.url} {said}\n")


def _command_lines(text: str) -> Iterator[str]:
    """Yield the command lines of processes that mention a text."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line:
                yield line
