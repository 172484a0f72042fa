"""A Prefect server that asks for an API key on every route and websocket: a proxy in front of a real one.

In its Cloud flavour it is what the stock client takes for Prefect Cloud: the workspace is in the path, the
key is told where the client tells it to Cloud, there is no /ready, /health, /admin/version, /csrf-token,
nor a POST of /events, and the key may not register block types. In the other flavour, a company's gateway,
each request and each websocket's upgrade has to carry the key.

Run as a program it serves until it is ended, and writes a line for each request: its answer, and what it was.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import requests
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.platforms import free_port
from tests.prefect_process import PrefectProcess

ACCOUNT, WORKSPACE = "0f4a1e2c-83a8-4b53-9a8e-2f7d6c5b4a30", "7c9d2b1e-5f64-4e0d-b8a1-3e2f1d0c9b8a"
WORKSPACE_PATH = f"/accounts/{ACCOUNT}/workspaces/{WORKSPACE}"
NOT_OF_CLOUD = {"GET ready", "GET health", "GET hello", "GET admin/version", "GET csrf-token", "POST events"}
FORBIDDEN_IN_CLOUD = {"POST block_types/"}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
OF_THE_CONNECTION = {
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "connection",
    "date",
    "server",
}
REFUSED = 401


@dataclass(frozen=True)
class Gateway:
    """What stands between the clients and a Prefect server without a login.

    Attributes:
        upstream: That server's API.
        key: What every client has to tell.
        is_cloud: Whether to be like Prefect Cloud.
    """

    upstream: str
    key: str
    is_cloud: bool

    def application(self) -> Starlette:
        prefix = f"/api{WORKSPACE_PATH}" if self.is_cloud else "/api"
        return Starlette(
            routes=[
                Route(f"{prefix}/{{path:path}}", self.answer, methods=METHODS),
                WebSocketRoute(f"{prefix}/{{path:path}}", self.connect),
                Route("/{path:path}", self.answer_elsewhere, methods=METHODS),
            ]
        )

    async def answer(self, request: Request) -> Response:
        path = request.path_params["path"]
        what = f"{request.method} {path}"
        if not self.is_told(request.headers.get("authorization")):
            return told(what, Response('{"detail": "Unauthorized"}', REFUSED, media_type="application/json"))
        if self.is_cloud and what in NOT_OF_CLOUD:
            return told(what, Response('{"detail": "Not Found"}', 404, media_type="application/json"))
        if self.is_cloud and what in FORBIDDEN_IN_CLOUD:
            return told(what, Response('{"detail": "Forbidden"}', 403, media_type="application/json"))
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in {"authorization", "host", "content-length"}
        }
        async with httpx.AsyncClient(timeout=90) as client:
            try:
                got = await client.request(
                    request.method,
                    f"{self.upstream}/{path}",
                    params=request.query_params,
                    content=await request.body(),
                    headers=headers,
                )
            except httpx.TransportError:
                return told(what, Response(status_code=503))
        kept = {name: value for name, value in got.headers.items() if name not in OF_THE_CONNECTION}
        return told(what, Response(got.content, got.status_code, kept))

    async def answer_elsewhere(self, request: Request) -> Response:
        return told(f"{request.method} {request.url.path}", Response(status_code=404))

    def is_told(self, authorization: str | None) -> bool:
        scheme, _, key = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and key == self.key

    async def connect(self, socket: WebSocket) -> None:
        path = socket.path_params["path"]
        what = f"WEBSOCKET {path}"
        is_by_header = not self.is_cloud or path == "events/in"
        if is_by_header and not self.is_told(socket.headers.get("authorization")):
            note(what, REFUSED)
            await socket.close()
            return
        url = f"{self.upstream.replace('http', 'ws', 1)}/{path}"
        wanted = [websockets.Subprotocol(name) for name in socket.scope["subprotocols"]]
        is_silent = self.is_cloud and path == "events/in"  # Cloud's takes events at once, without a greeting
        subprotocols = [websockets.Subprotocol("prefect")] if is_silent else wanted
        async with websockets.connect(
            url, subprotocols=subprotocols, max_size=None, proxy=None, open_timeout=60
        ) as server:
            await socket.accept(server.subprotocol if not is_silent else None)
            first = orjson.dumps({"type": "auth", "token": None}).decode()
            try:
                if is_silent:
                    await server.send(first)
                    await server.recv()
                elif self.is_cloud:
                    if (greeting := orjson.loads(await socket.receive_text())).get("token") != self.key:
                        note(what, REFUSED)
                        await socket.close(1008, "the key is not the one")
                        return
                    await server.send(orjson.dumps({**greeting, "token": None}).decode())
                note(what, 101)
                await relay(socket, server)
            except (WebSocketDisconnect, websockets.ConnectionClosed):
                return


async def relay(socket: WebSocket, server: websockets.ClientConnection) -> None:
    """Pass messages on in both directions until either side has closed."""

    async def up() -> None:
        while True:
            message = await socket.receive()
            if message["type"] != "websocket.receive":
                return
            await server.send(message.get("text") or message["bytes"])

    async def down() -> None:
        async for message in server:
            await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))
        await socket.close(server.close_code or 1000)

    tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def told(what: str, response: Response) -> Response:
    note(what, response.status_code)
    return response


def note(what: str, status: int) -> None:
    print(status, what, flush=True)


class KeyedServer:
    """The gateway as a process of the test's own.

    Args:
        upstream: The API of the Prefect server behind it.
        journal: Where it writes what it was asked.
        key: What it asks for.
        is_cloud: Whether to be like Prefect Cloud.
        host: Where it listens.
    """

    def __init__(
        self, upstream: str, journal: Path, key: str, *, is_cloud: bool, host: str = "127.0.0.1"
    ) -> None:
        self.port = free_port()
        self.address = f"http://{host}:{self.port}"
        self.url = f"{self.address}/api{WORKSPACE_PATH if is_cloud else ''}"
        self.key = key
        self.is_cloud = is_cloud
        self.upstream = upstream
        self.journal = journal
        self._host = host

    @contextmanager
    def running(self) -> Iterator["KeyedServer"]:
        arguments = [self.upstream, self._host, str(self.port), "cloud" if self.is_cloud else "gateway"]
        root = Path(__file__).parents[1]
        with self.journal.open("ab") as journal:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.keyed_server", *arguments],
                cwd=root,
                env={**os.environ, "KEY": self.key},
                stdin=subprocess.DEVNULL,
                stdout=journal,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + 240
            while not self._is_listening():
                assert process.poll() is None, self.journal.read_text()
                assert time.monotonic() < deadline, self.journal.read_text()
                time.sleep(0.1)
            self.journal.write_text("")
            yield self
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)

    def _is_listening(self) -> bool:
        try:
            return requests.get(self.address, timeout=10).status_code == 404
        except requests.RequestException:
            return False

    def asked(self) -> list[str]:
        """Return what it was asked so far, each with the answer's status before it."""
        return self.journal.read_text().splitlines()

    def refused(self) -> list[str]:
        """Return the requests and connections that did not tell the key."""
        return [line for line in self.asked() if line.startswith(f"{REFUSED} ")]


@contextmanager
def keyed_server(home: Path, key: str, *, is_cloud: bool, host: str = "127.0.0.1") -> Iterator[KeyedServer]:
    """Have a Prefect server behind a gateway for as long as the block lasts."""
    with (
        PrefectProcess(home) as behind,
        KeyedServer(behind.url, home / "journal", key, is_cloud=is_cloud, host=host).running() as server,
    ):
        yield server


def main() -> None:
    upstream, host, port, flavour = sys.argv[1:]
    application = Gateway(upstream, os.environ["KEY"], flavour == "cloud").application()
    uvicorn.run(application, host=host, port=int(port), log_level="error", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
