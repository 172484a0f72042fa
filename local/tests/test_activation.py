"""Switching the Windows schedule on, against a server that answers as Prefect's does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from local.api import PrefectApi
from local.console import Console
from local.deployments.activation import activate
from local.errors import CommandError

DEPLOYMENT = {
    "id": "d1",
    "name": "on-windows",
    "work_pool_name": "windows-pool",
    "paused": False,
    "schedules": [{"id": "s1", "active": False}, {"id": "s2", "active": True}],
}


class Handler(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers: dict[str, Any] = {
            "/api/deployments/filter": self.server.deployments,  # type: ignore[attr-defined]
            "/api/work_pools/windows-pool/workers/filter": self.server.workers,  # type: ignore[attr-defined]
        }
        if self.command == "PATCH" and self.server.busy:  # type: ignore[attr-defined]
            self.server.busy -= 1  # type: ignore[attr-defined]
            self.send_response(503)
            self.end_headers()
            return
        if self.command == "PATCH":
            self.server.patched.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(204 if self.command == "PATCH" else 200)
        self.end_headers()
        if self.command != "PATCH":
            self.wfile.write(json.dumps(answers[self.path]).encode())

    do_POST = do_PATCH = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


class FakeServer(ThreadingHTTPServer):
    """A server with one deployment and one worker; keeps what it was asked to change."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.deployments: list[dict[str, Any]] = [DEPLOYMENT]
        self.workers = [{"name": "box", "status": "ONLINE"}, {"name": "old", "status": "OFFLINE"}]
        self.patched: list[tuple[str, Any]] = []
        self.busy = 0  # how many changes it refuses for now


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(fake: FakeServer) -> None:
    activate(PrefectApi(f"http://127.0.0.1:{fake.server_port}/api"), "on-windows", Console())


def test_a_busy_server_is_asked_again(fake: FakeServer) -> None:
    fake.busy = 1
    run(fake)
    assert [path for path, _ in fake.patched] == ["/api/deployments/d1/schedules/s1"]


def test_only_what_is_off_is_switched_on(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    run(fake)
    assert fake.patched == [("/api/deployments/d1/schedules/s1", {"active": True})]
    assert "its schedules are on, for box of windows-pool" in capsys.readouterr().out


def test_paused_deployment_is_told(fake: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    fake.deployments = [{**DEPLOYMENT, "paused": True}]
    run(fake)
    assert "resume it in the UI" in capsys.readouterr().out


def test_without_a_polling_worker_nothing_is_switched_on(fake: FakeServer) -> None:
    fake.workers = [{"name": "old", "status": "OFFLINE"}]
    with pytest.raises(CommandError, match="no worker polls windows-pool"):
        run(fake)
    assert fake.patched == []


def test_missing_deployment_is_one_sentence(fake: FakeServer) -> None:
    fake.deployments = []
    with pytest.raises(CommandError, match="there is no deployment on-windows; `make deploy`"):
        run(fake)


def test_platform_that_does_not_answer_is_one_sentence() -> None:
    with pytest.raises(CommandError, match="is the platform running"):
        activate(PrefectApi("http://127.0.0.1:9/api"), "on-windows", Console())
