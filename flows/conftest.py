"""One Prefect server and one warehouse for all tests of the flows, and what they read from them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter
from prefect.client.schemas.objects import State
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from local.processes import warehouse
from tests.emulators import bigquery_server, gcs_server
from tests.google_account import service_account
from tests.platforms import free_port
from tests.prefect_process import PrefectProcess

FLOWS = Path(__file__).parent

# As Prefect does when it loads a flow: the folder of its file is on the import path.
PROJECTS = sorted({file.parent for file in FLOWS.glob("*/*.py") if file.parent.name != "tests"})
sys.path[:0] = [str(folder) for folder in (FLOWS, *PROJECTS)]

ReadLog = Callable[..., list[str]]
Query = Callable[..., list[tuple[Any, ...]]]
WAREHOUSE_PASSWORD = "planted-warehouse-password"
PROJECT = "zoomcamp-376919"
YEEDU_PASSWORD = "planted-password"
TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"
RunPython = Callable[..., "subprocess.Popen[str]"]


def _wait_for(what: str, look: Callable[[], Any], timeout_seconds: float = 60) -> Any:
    """Return the first true answer of `look`; fail the test after the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"no {what} within {timeout_seconds} s"
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """Wait for a condition: what it is, how to look for it, and the seconds to wait at most."""
    return _wait_for


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server of these tests' own."""
    # Events go on to the server of earlier tests in this process, as long as what sends them lives.
    EventsWorker.drain_all(timeout=60)
    with PrefectProcess(tmp_path_factory.mktemp("prefect")) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PREFECT_API_URL", server.url)
            patch.setenv("PREFECT_LOGGING_TO_API_BATCH_INTERVAL", "0.1")
            refresh_global_settings_context()  # which holds for new threads as well
            yield server.url
            APILogWorker.drain_all()
            EventsWorker.drain_all()
        refresh_global_settings_context()


@pytest.fixture
def read_log(prefect_server: str) -> ReadLog:
    """Read the messages of a finished run's log, once it is complete."""

    def read(state: State[Any]) -> list[str]:
        run_id = state.state_details.flow_run_id
        assert run_id is not None

        def complete() -> list[str] | None:
            with get_client(sync_client=True) as client:
                logs = client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": [run_id]}}))
            messages = [log.message for log in sorted(logs, key=lambda log: log.timestamp)]
            # A task's end looks alike, and comes before the flow's own.
            return messages if messages and messages[-1].startswith("Finished in state") else None

        return _wait_for("complete log", complete)

    return read


@pytest.fixture(scope="session")
def warehouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Postgres of these tests' own."""
    if reason := warehouse.why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("warehouse")
    password = folder / "password"
    password.write_text(WAREHOUSE_PASSWORD)
    warehouse.make_database(folder / "data", password, os.environ)
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(warehouse.command(folder / "data", port), stdout=log, stderr=log)
    try:
        ready = warehouse.ready_command(port)
        _wait_for("answer of Postgres", lambda: subprocess.run(ready, check=False).returncode == 0)
        yield warehouse.address(port)
    finally:
        process.send_signal(signal.SIGINT)  # at SIGTERM it would wait for whoever is still connected
        process.wait(timeout=60)
        shutil.rmtree(folder / "data")


@pytest.fixture
def query(prefect_server: str, warehouse_url: str) -> Query:
    """Ask the warehouse, whose block flows find; it is empty when a test begins."""
    block = {"url": warehouse_url, "password": WAREHOUSE_PASSWORD}
    Secret.model_validate({"value": block}).save("warehouse", overwrite=True)

    def ask(statement: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(warehouse_url, password=WAREHOUSE_PASSWORD)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return ask


@pytest.fixture(scope="session")
def google(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The key of a service account; Google's clients find a storage and a BigQuery of these tests' own."""
    folder = tmp_path_factory.mktemp("google")
    with (
        service_account(PROJECT) as key,
        gcs_server(folder) as storage,
        bigquery_server(folder, PROJECT) as bigquery,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("STORAGE_EMULATOR_HOST", storage)
        patch.setenv("BIGQUERY_EMULATOR_HOST", bigquery)
        yield key


class FileServer(ThreadingHTTPServer):
    """Serves one body for every path, after the statuses that it is told, and remembers who asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = b""
        self.statuses: list[int] = []
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.delay_seconds = 0.0
        self.active = self.most_active = 0
        self.meeting: threading.Barrier | None = None  # of requests that have to be there at the same time
        self.counting = threading.Lock()
        self.template = f"http://127.0.0.1:{self.server_port}/{{colour}}_{{year}}-{{month:02}}.csv.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        files = self.server
        assert isinstance(files, FileServer)
        with files.counting:
            files.asked.append(self.path)
            files.headers.append(dict(self.headers))
            files.active += 1
            files.most_active = max(files.most_active, files.active)
        time.sleep(files.delay_seconds)
        if files.meeting:
            files.meeting.wait(timeout=60)
        with files.counting:
            files.active -= 1
        status = files.statuses.pop(0) if files.statuses else 200
        body = files.body if status == 200 else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
        """Be silent."""


@pytest.fixture(scope="session")
def yeedu(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a mock Yeedu in a process of its own; blocks on the Prefect server open it."""
    details = {"username": "demo", "YEEDU_VERIFY_SSL": "false", "YEEDU_SSL_CERT_FILE": ""}
    Secret.model_validate({"value": details}).save("yeedu-connection-details", overwrite=True)
    Secret.model_validate({"value": YEEDU_PASSWORD}).save("yeedu-password", overwrite=True)
    command = shutil.which("yeedu-mock", path=str(Path(sys.executable).parent))
    assert command is not None
    state = tmp_path_factory.mktemp("yeedu")
    with (state / "log").open("w") as log:
        process = subprocess.Popen(
            [command, "--port", "0", "--state-directory", str(state)],
            env=os.environ | {"YEEDU_MOCK_PASSWORD": YEEDU_PASSWORD},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        listens = re.search(r"http://[\w.:]+", process.stdout.readline())
        assert listens is not None, (state / "log").read_text()
        yield listens[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def address(yeedu: str) -> Callable[[str], str]:
    """Turn a path such as job/101 into the address that a user would paste."""
    return lambda path: f"{yeedu}/tenant/{TENANT}/workspace/1/spark/{path}"


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    """A real HTTP server for files, on a port of its own."""
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run_python(prefect_server: str, tmp_path: Path) -> Iterator[RunPython]:
    """Start Python in a process of its own, as a worker would; it is ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, cwd: Path = tmp_path, **variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=os.environ
            | {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path / "home")}
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
