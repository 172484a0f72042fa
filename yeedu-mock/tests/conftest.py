"""A mock that serves, and a client that speaks to it as the real ones do."""

from __future__ import annotations

import json
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import trustme
import websocket

# Tests are imported without packages, so what they share needs a place that Python searches.
sys.path.append(str(Path(__file__).parent / "support"))

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from yeedu_mock.testing import RunningMock

TERMINAL = {"DONE", "ERROR", "STOPPED", "TERMINATED"}
# A busy machine is no failure.
TIMEOUT_SECONDS = 90


@dataclass
class Client:
    """A logged-in client of the v2 generation."""

    url: str
    token: str = ""
    session: requests.Session = field(default_factory=requests.Session)
    kernels: list[Kernel] = field(default_factory=list)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        response = self.session.request(
            method, f"{self.url}/api/v1/{path}", headers=headers, timeout=TIMEOUT_SECONDS, **options
        )
        if response.headers["content-type"].startswith("application/json"):
            response.json()
        return response

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.request("POST", path, json=body, **options)

    def log_in(self, username: str, password: str) -> None:
        self.token = self.post("login", {"username": username, "password": password}).json()["token"]

    def workspace(self, path: str) -> str:
        return f"workspace/1/{path}"

    def run_job(self, job_id: int, **body: Any) -> int:
        answer = self.post(self.workspace("spark/job/run"), {"job_id": job_id, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()["run_id"]

    def runs_of(self, job_id: int) -> list[dict[str, Any]]:
        return self.get(self.workspace("spark/job/runs"), params={"job_ids": job_id}).json()["data"]

    def run_notebook(self, notebook_id: int) -> int:
        answer = self.post(
            self.workspace("notebook/run"), {"notebook_id": notebook_id, "is_background": True}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["run_id"]

    def status(self, kind: str, run_id: int) -> str:
        return self.get(self.workspace(f"{kind}/run/{run_id}")).json()["run_status"]

    def wait(self, kind: str, run_id: int, *states: str) -> str:
        wanted = set(states) or TERMINAL
        return until(lambda: (state := self.status(kind, run_id)) in wanted and state)

    def log(self, kind: str, run_id: int, stream: str, **query: Any) -> str:
        answer = self.get(self.workspace(f"{kind}/run/{run_id}/log/{stream}"), params=query)
        assert answer.status_code == 200
        return answer.text

    def open_kernel(self, run_id: int, token: str | None = None) -> Kernel:
        path = f"/api/v1/workspace/1/notebook/run/{run_id}/kernel/ws/yeedu_session/{token or self.token}"
        address = self.url.replace("http", "ws", 1) + path
        kernel = Kernel(websocket.WebSocket())
        self.kernels.append(kernel)
        kernel.socket.connect(address, timeout=TIMEOUT_SECONDS)
        return kernel


@dataclass
class Kernel:
    """An open websocket to a kernel, and everything it has received."""

    socket: websocket.WebSocket
    received: list[dict[str, Any]] = field(default_factory=list)

    def send(self, code: str, message_id: str | None = None) -> str:
        message_id = message_id or str(uuid.uuid4())
        header = {
            "msg_type": "execute_request",
            "msg_id": message_id,
            "username": "username",
            "session": str(uuid.uuid4()),
            "date": "2026-01-01 00:00:00",
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps(message | {"channel": "shell", "buffers": []}))
        return message_id

    def close(self) -> None:
        self.socket.shutdown()

    def receive_until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            text = self.socket.recv()
            assert text, "the websocket was closed"
            self.received.append(json.loads(text))
            if condition(self.received[-1]):
                return self.received[-1]

    def finish(self, *message_ids: str) -> None:
        """Receive until each request has its reply and its idle, which may come in either order."""
        for message_id in message_ids:
            for done in ({"msg_type": "execute_reply"}, {"execution_state": "idle"}):
                if not any(_is(message, message_id, done) for message in self.received):
                    self.receive_until(lambda message, i=message_id, d=done: _is(message, i, d))

    def of(self, message_id: str, kind: str) -> list[dict[str, Any]]:
        return [
            message["content"]
            for message in self.received
            if message["parent_header"].get("msg_id") == message_id and message["msg_type"] == kind
        ]


def _is(message: dict[str, Any], message_id: str, wanted: dict[str, str]) -> bool:
    found = {"msg_type": message["msg_type"], "execution_state": message["content"].get("execution_state")}
    return message["parent_header"].get("msg_id") == message_id and wanted.items() <= found.items()


def until(condition: Callable[[], Any], timeout_seconds: float = TIMEOUT_SECONDS) -> Any:
    """Poll until a condition is true and return its value."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return value


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A PEM file with a key and a certificate for 127.0.0.1, and the CA that vouches for it."""
    authority = trustme.CA()
    path = tmp_path / "yeedu.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    authority.cert_pem.write_to_path(path, append=True)
    return path


@pytest.fixture
def anonymous(yeedu_mock: RunningMock) -> Iterator[Client]:
    with requests.Session() as session:
        client = Client(yeedu_mock.url, session=session)
        yield client
        for kernel in client.kernels:
            kernel.close()


@pytest.fixture
def client(anonymous: Client, yeedu_mock: RunningMock) -> Client:
    anonymous.log_in(yeedu_mock.settings.username, yeedu_mock.settings.password or "")
    assert anonymous.post(f"user/select/{yeedu_mock.tenant}").status_code == 201
    return anonymous


@pytest.fixture
def job(yeedu_mock: RunningMock, request: pytest.FixtureRequest) -> int:
    """A job that sleeps as long as its arguments say."""
    program = "import sys, time\ntime.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0)\nprint('slept')"
    body = {"program": program, "name": request.node.name}
    return requests.post(f"{yeedu_mock.url}/_control/jobs", json=body, timeout=90).json()["job_id"]


@pytest.fixture
def notebook_run(client: Client) -> Iterator[int]:
    """A running run of the hello notebook, killed afterwards."""
    run_id = client.run_notebook(201)
    client.wait("notebook", run_id, "RUNNING")
    yield run_id
    client.post(client.workspace(f"notebook/run/kill/{run_id}"))
    client.wait("notebook", run_id)
