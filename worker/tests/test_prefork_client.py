"""When a flow run gets a child of the prefork server, and when the stock engine."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prefect_processes import START_SECONDS
from prefork_processes import PROGRAMS, Prefork, prefork

from tests.platforms import wait_for
from yeedu_worker.prefork import protocol

pytestmark = pytest.mark.timeout(600)  # interpreters with Prefect start one after the other

# Without a flow run the engine ends at once, so that a test sees who ran it, and how it ended.
NO_FLOW_RUN = "Invalid flow run id"
INSTEAD = "running python -m prefect.engine instead"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose interpreters import a file that a test can change."""
    folder = tmp_path_factory.mktemp("python-path")
    (folder / "sitecustomize.py").write_text("")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {
        **inherited,
        "PYTHONPATH": str(folder),
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


@pytest.fixture(scope="module")
def running(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefork]:
    with prefork(environment, tmp_path_factory.mktemp("prefork")) as started:
        yield started


def run_client(
    running: Prefork, folder: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a client to its end."""
    client = running.client(folder, environment)
    output, errors = client.communicate(timeout=250)
    return subprocess.CompletedProcess(client.args, client.returncode, output, errors)


def start(command: list[str], folder: Path, running: Prefork) -> "subprocess.CompletedProcess[str]":
    """Run a command that ends up as a client."""
    environment = {**running.environment, protocol.ADDRESS_VARIABLE: running.address}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_child_of_the_server_runs_the_engine(running: Prefork, tmp_path: Path) -> None:
    done = run_client(running, tmp_path)
    assert done.returncode == 1
    assert NO_FLOW_RUN in done.stderr
    assert INSTEAD not in done.stderr


def test_arguments_reach_the_engine(running: Prefork, tmp_path: Path) -> None:
    done = start([str(PROGRAMS / "yeedu-flow-run"), "no-identity"], tmp_path, running)
    assert "no-identity" in done.stderr
    assert INSTEAD not in done.stderr


def test_socket_is_this_users_alone(running: Prefork) -> None:
    socket = Path(running.address)
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


def test_without_an_address_the_stock_engine_runs_and_nothing_is_said(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [PROGRAMS / "yeedu-flow-run"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert NO_FLOW_RUN in done.stderr
    assert INSTEAD not in done.stderr


def test_missing_server_is_said_once_and_the_stock_engine_runs(
    environment: dict[str, str], tmp_path: Path
) -> None:
    nobody = {**environment, protocol.ADDRESS_VARIABLE: str(tmp_path / "socket")}
    done = subprocess.run(
        [PROGRAMS / "yeedu-flow-run"], cwd=tmp_path, env=nobody, capture_output=True, text=True
    )
    assert NO_FLOW_RUN in done.stderr
    assert done.stderr.count(INSTEAD) == 1


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LC_ALL", "HOME", "WEBSOCKETS_USER_AGENT"])
def test_variable_that_imports_depend_on_gets_a_fresh_interpreter(
    running: Prefork, tmp_path: Path, name: str
) -> None:
    done = run_client(running, tmp_path, {**running.environment, name: "1"})
    assert NO_FLOW_RUN in done.stderr
    assert f"{name} has another value" in done.stderr
    assert done.stderr.count(INSTEAD) == 1


def test_working_directory_that_is_gone_is_left_to_the_stock_engine(running: Prefork, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    vanish = "import os, sys; os.rmdir(os.getcwd()); os.execvp(sys.argv[1], sys.argv[1:])"
    done = start([sys.executable, "-c", vanish, str(PROGRAMS / "yeedu-flow-run")], folder, running)
    assert done.stderr.count(INSTEAD) == 1


def test_changed_file_is_noticed_and_a_new_server_starts(running: Prefork, tmp_path: Path) -> None:
    old = running.server()
    changed = Path(running.environment["PYTHONPATH"]) / "sitecustomize.py"
    changed.write_text("# another version\n")
    done = run_client(running, tmp_path)
    assert NO_FLOW_RUN in done.stderr
    assert f"{changed} has changed" in done.stderr
    assert done.stderr.count(INSTEAD) == 1
    wait_for("new server", lambda: running.log.count("ready") >= 2, START_SECONDS, 0.05)
    assert running.server() != old
    assert INSTEAD not in run_client(running, tmp_path).stderr


@pytest.mark.long
def test_server_that_hangs_is_not_waited_for_and_is_replaced(running: Prefork, tmp_path: Path) -> None:
    ready = running.log.count("ready")
    server = running.server()
    os.kill(server, signal.SIGSTOP)
    done = run_client(running, tmp_path)
    assert NO_FLOW_RUN in done.stderr
    assert "did not answer within" in done.stderr
    wait_for("new server", lambda: running.log.count("ready") > ready, START_SECONDS, 0.1)
    assert INSTEAD not in run_client(running, tmp_path).stderr


def test_killed_server_is_replaced(running: Prefork, tmp_path: Path) -> None:
    ready = running.log.count("ready")
    os.kill(running.server(), signal.SIGKILL)
    wait_for("new server", lambda: running.log.count("ready") > ready, START_SECONDS, 0.1)
    assert INSTEAD not in run_client(running, tmp_path).stderr
