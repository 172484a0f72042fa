"""A Yeedu that answers what a test tells it to, over real HTTP."""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from addressed import AddressedClient

from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.transport import Timeouts
from prefect_yeedu.retry_policy import Clock, RetryPolicy

TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"
TOKEN = "tok-" + "s3cr3t-of-the-session"
PASSWORD = "pw-" + "s3cr3t-of-demo"

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class Call:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any


@dataclass
class ScriptedYeedu:
    """Answers each route from a list; the last answer stays. Bodies of bytes are sent as they are.

    With the header `X-Break-After` the connection breaks after so many bytes of the body.
    """

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    routes: dict[tuple[str, str], list[Answer | Callable[[Call], Answer]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, method: str, path: str, *answers: Answer | Callable[[Call], Answer]) -> None:
        self.routes[method, path] = list(answers)

    def answer(self, call: Call) -> Answer:
        with self.lock:
            self.calls.append(call)
            answers = self.routes.get((call.method, call.path))
            if not answers:
                return 404, {"error_code": "RFA-000404", "error_message": f"no {call.path}"}
            chosen = answers.pop(0) if len(answers) > 1 else answers[0]
        return chosen(call) if callable(chosen) else chosen

    def called(self, method: str, path: str) -> list[Call]:
        return [call for call in self.calls if (call.method, call.path) == (method, path)]

    def url(self, path: str = "spark/job/5") -> str:
        return f"http://127.0.0.1:{self.port}/tenant/{TENANT}/workspace/1/{path}"

    def client(
        self, path: str = "spark/job/5", credentials: Credentials | None = None, clock: Clock | None = None
    ) -> AddressedClient:
        return AddressedClient(
            self.url(path),
            credentials or Credentials("demo", PASSWORD),
            timeouts=Timeouts(30.0, 30.0),  # a busy machine is no failure
            retries=RetryPolicy(attempts=3, first_wait_seconds=0.01),
            clock=clock,
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body waits some 40 ms for the client to acknowledge the head
    yeedu: ScriptedYeedu

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        call = Call(
            self.command,
            path.removeprefix("/api/v1/"),
            query,
            {name.lower(): value for name, value in self.headers.items()},
            json.loads(text) if text else None,
        )
        status, body, *rest = self.yeedu.answer(call)
        if status == 0:  # the connection breaks without an answer
            self.close_connection = True
            self.connection.close()
            return
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (rest[0] if rest else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        break_after = (rest[0] if rest else {}).get("X-Break-After")
        with contextlib.suppress(ConnectionError):  # clients that hang up are part of some tests
            self.wfile.write(content[: int(break_after)] if break_after is not None else content)
        if break_after is not None:
            self.close_connection = True

    do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server asks for

    def log_message(self, *args: Any) -> None:
        pass
