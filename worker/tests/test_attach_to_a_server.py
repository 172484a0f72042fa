"""The whole way, with a real Prefect server and its login: attach, work, outlast a restart, detach."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from attach.attachment import resolve
from attach.folder import copy_program, fill_home, make_home
from attach.options import parse
from attach.service import serve_command
from tests.platforms import Api, wait_for
from tests.prefect_process import PrefectProcess

ROOT = Path(__file__).parents[2]
ATTACH = [sys.executable, "-X", "utf8", str(ROOT / "worker" / "attach")]
LOGIN = "admin:canary-of-the-login"
FLOW = """
import os
from prefect import flow

@flow(log_prints=True)
def say():
    print("ran on", os.environ["WORKER_NAME"], "with", os.environ["MY_OWN_KEY"])
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(500)]


class PrefectServer(PrefectProcess):
    """A Prefect server with a login, and what is looked up on it."""

    def __init__(self, home: Path) -> None:
        logins = {"PREFECT_SERVER_API_AUTH_STRING": LOGIN, "PREFECT_API_AUTH_STRING": LOGIN}
        super().__init__(home, logins)
        self.address = self.url.removesuffix("/api")
        self.api = Api(self.url, LOGIN)

    def worker(self, name: str) -> dict[str, Any] | None:
        records = self.api.post("work_pools/own-pool/workers/filter")
        found = [record for record in records if record["name"] == name]
        assert len(found) <= 1
        return found[0] if found else None

    def run(self, deployment: str) -> tuple[str, str]:
        """Run a deployment to its end; return its state and its log."""
        path = f"deployments/{deployment}/create_flow_run"
        made = self.api.post(path, {"state": {"type": "SCHEDULED"}})["id"]
        state = self.api.finished(made)["state_type"]
        return state, self.api.log_with(made, "ran on") if state == "COMPLETED" else self.api.log(made)


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with PrefectServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a repository with a flow."""
    folder = tmp_path_factory.mktemp("flows")
    (folder / "say.py").write_text(FLOW)
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*author, "commit", "--quiet", "--message", "Start"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder.as_uri()


@pytest.fixture(scope="module")
def deployment(prefect: PrefectServer) -> str:
    """A deployment in a pool of its own, whose runs clone the repository that the worker names."""
    prefect.api.post("work_pools/", {"name": "own-pool", "type": "process"})
    flow = prefect.api.post("flows/", {"name": "say"})
    clone = {"prefect.deployments.steps.git_clone": {"repository": "{{ $FLOWS_GIT_URL }}"}}
    body = {"name": "say", "flow_id": flow["id"], "entrypoint": "say.py:say", "work_pool_name": "own-pool"}
    return prefect.api.post("deployments/", {**body, "pull_steps": [clone]})["id"]


@pytest.fixture
def login(tmp_path: Path) -> Path:
    file = tmp_path / "login"
    file.write_text(LOGIN)
    return file


def attach(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ATTACH, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_worker_attaches_works_outlasts_a_restart_and_leaves_nothing(
    prefect: PrefectServer, deployment: str, flows: str, login: Path, tmp_path: Path
) -> None:
    folder, own = tmp_path / "worker", tmp_path / "my.env"
    own.write_text("MY_OWN_KEY=my-value\nWORKER_NAME=box\nWORKER_POOL=own-pool\n")
    options = ["--server", prefect.address, "--folder", str(folder), "--env-file", str(own)]
    options += ["--auth-string-file", str(login), "--flows-git-url", flows, "--environment", sys.prefix]
    where = ["--folder", str(folder)]
    with running([*ATTACH, "run", *options, "--query-seconds", "1"]) as process:
        wait_for("worker", lambda: prefect.worker("box"), 90)
        state, log = prefect.run(deployment)
        assert (state, "ran on box with my-value" in log) == ("COMPLETED", True), log

        second = attach("run", *where)
        assert second.returncode == 1
        assert "already runs here" in second.stderr

        kept = (folder / "settings.json").read_text() + (folder / "logs" / "worker.log").read_text()
        assert "canary" not in kept

        prefect.stop()
        prefect.start()
        assert prefect.run(deployment)[0] == "COMPLETED"
        assert process.poll() is None

        status = attach("status", *where)
        assert status.returncode == 0, status.stdout
        assert "ONLINE" in status.stdout

        detached = attach("detach", *where)
        assert detached.returncode == 0, detached.stderr
        assert process.wait(30) == 0
    assert prefect.worker("box") is None
    assert not folder.exists()
    assert "canary" not in status.stdout + detached.stdout
    assert attach("status", *where).stderr.startswith("attach: no worker is attached in")


def test_two_workers_of_one_machine_take_a_queue_each(
    prefect: PrefectServer, deployment: str, flows: str, login: Path, tmp_path: Path
) -> None:
    own = tmp_path / "my.env"
    own.write_text("MY_OWN_KEY=my-value\n")
    options = ["--server", prefect.address, "--pool", "own-pool", "--env-file", str(own)]
    options += ["--auth-string-file", str(login), "--flows-git-url", flows, "--environment", sys.prefix]

    def worker(name: str, queue: str) -> list[str]:
        where = ["--name", name, "--folder", str(tmp_path / name)]
        return [*ATTACH, "run", *options, "--work-queue", queue, "--query-seconds", "1", *where]

    checked = attach("check", *options, "--work-queue", "staging", "--folder", str(tmp_path / "stage"))
    assert "note   queues   'own-pool' gets the new queue staging: it has default" in checked.stdout
    with running(worker("prod", "default")), running(worker("stage", "staging")) as second:
        wait_for("both workers", lambda: prefect.worker("prod") and prefect.worker("stage"), 90)
        of_production = prefect.api.get(f"deployments/{deployment}")
        fields = ("flow_id", "entrypoint", "pull_steps", "work_pool_name")
        copy = {name: of_production[name] for name in fields}
        staging = prefect.api.post("deployments/", {**copy, "name": "staging", "work_queue_name": "staging"})
        assert "ran on prod" in prefect.run(deployment)[1]
        assert "ran on stage" in prefect.run(staging["id"])[1]
        assert (
            "worker   stage of own-pool (staging)"
            in attach("status", "--folder", str(tmp_path / "stage")).stdout
        )
        assert attach("detach", "--folder", str(tmp_path / "stage")).returncode == 0
        assert second.wait(30) == 0
        assert "ran on prod" in prefect.run(deployment)[1], "the other one is left as it was"
        assert attach("detach", "--folder", str(tmp_path / "prod")).returncode == 0
    prefect.api.delete(f"deployments/{staging['id']}")


def test_detach_waits_for_a_server_that_does_not_answer(
    prefect: PrefectServer, deployment: str, flows: str, login: Path, tmp_path: Path
) -> None:
    """Started as by its service, the worker is stopped; its folder stays until the server forgot it."""
    folder = tmp_path / "worker"
    options = ["--server", prefect.address, "--folder", str(folder), "--name", "box", "--pool", "own-pool"]
    options += ["--auth-string-file", str(login), "--flows-git-url", flows, "--environment", sys.prefix]
    attachment = resolve(parse(["install", *options]))
    make_home(attachment.paths)
    attachment.remember()
    fill_home(attachment.paths)
    copy_program(attachment.paths)
    with running(serve_command(attachment.settings, attachment.paths)) as process:
        wait_for("worker", lambda: prefect.worker("box"), 90)
        prefect.stop()
        refused = attach("detach", "--folder", str(folder))
        assert process.wait(60) == 0
    assert refused.returncode == 1
    assert "run this again later" in refused.stderr
    assert folder.exists()
    prefect.start()
    assert prefect.worker("box")
    assert attach("detach", "--folder", str(folder)).returncode == 0
    assert prefect.worker("box") is None
    assert not folder.exists()


@pytest.mark.skipif(not os.environ.get("ATTACH_SERVICE"), reason="ATTACH_SERVICE=1 lets it install a service")
def test_service_runs_after_its_installer_ended_and_leaves_nothing(
    prefect: PrefectServer, deployment: str, flows: str, login: Path, tmp_path: Path
) -> None:
    folder, own = tmp_path / "worker", tmp_path / "my.env"
    own.write_text("MY_OWN_KEY=my-value\n")
    options = ["--server", prefect.address, "--folder", str(folder), "--name", "box", "--pool", "own-pool"]
    options += ["--auth-string-file", str(login), "--flows-git-url", flows, "--environment", sys.prefix]
    scope = ["--scope", "system" if sys.platform == "win32" else "user"]
    installed = attach("install", *options, *scope, "--env-file", str(own))
    try:
        assert installed.returncode == 0, installed.stdout + installed.stderr
        state, log = prefect.run(deployment)
        assert (state, "ran on box with my-value" in log) == ("COMPLETED", True), log
        status = attach("status", "--folder", str(folder))
        assert status.returncode == 0, status.stdout + status.stderr
    finally:
        detached = attach("detach", "--folder", str(folder))
    assert detached.returncode == 0, detached.stderr
    assert "removed the service" in detached.stdout
    assert prefect.worker("box") is None
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "WRONG  login"),
        (
            ["--auth-string-file", "LOGIN", "--pool", "other"],
            "no work pool 'other'; give --pool one of: own-pool",
        ),
        (
            ["--auth-string-file", "LOGIN", "--pool", "own-pool"],
            "ok     pool     'own-pool', of type process",
        ),
    ],
)
def test_check_tells_what_is_wrong_and_changes_nothing(
    prefect: PrefectServer,
    deployment: str,
    flows: str,
    login: Path,
    tmp_path: Path,
    options: list[str],
    line: str,
) -> None:
    folder = tmp_path / "worker"
    chosen = [str(login) if option == "LOGIN" else option for option in options]
    place = ["--server", prefect.address, "--folder", str(folder), "--environment", sys.prefix]
    done = attach("check", *place, "--flows-git-url", flows, *chosen)
    assert line in done.stdout
    assert done.returncode == (1 if "WRONG" in done.stdout else 0)
    assert not folder.exists()


def test_nothing_starts_while_a_check_is_wrong(prefect: PrefectServer, flows: str, tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    done = attach("run", "--server", prefect.address, "--folder", str(folder), "--flows-git-url", flows)
    assert done.returncode == 1
    assert "fix what is WRONG above" in done.stderr
    assert "Traceback" not in done.stderr
    assert not folder.exists()


def test_missing_server_option_is_one_sentence(tmp_path: Path) -> None:
    done = attach("check", "--folder", str(tmp_path / "worker"))
    assert done.returncode == 1
    assert "give --server the Prefect server's address" in done.stderr
    assert done.stderr.count("\n") == 1
