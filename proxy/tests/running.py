"""The proxy as a process of this machine, on ports of its own, and API servers for it to stand before."""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.platforms import ROOT, free_port, wait_for

HOST = "prefect.example.com"
SECONDS = 30.0


class Proxy:
    """One running proxy.

    Args:
        folder: Where its files and its data are.
        environment: What compose would give it.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port, self.redirects, self.tls_port = free_port(), free_port(), free_port()
        self.files = folder / "proxy"
        self.data = folder / "data"
        self._log = folder / "proxy.log"
        shutil.copytree(ROOT / "proxy", self.files, ignore=shutil.ignore_patterns("tests"))
        place = self.files / "Caddyfile"
        text = place.read_text(encoding="utf-8")
        for inside, here in (
            ("http://:4200", f"http://:{self.port}"),
            ("http_port 8080", f"http_port {self.redirects}"),
            ("https_port 8443", f"https_port {self.tls_port}"),
            ("unix//tmp/caddy.sock", f"unix/{folder}/caddy.sock"),
        ):
            assert text.count(inside) == 1, inside
            text = text.replace(inside, here)
        place.write_text(text.replace("/run/secrets", str(folder)), encoding="utf-8")
        program = self.files / "start"
        program.write_text(program.read_text(encoding="utf-8").replace("/run/secrets", str(folder)))
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_DATA_HOME": str(self.data),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PREFECT_UI_URL": f"https://{HOST}",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address without TLS."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its program with arguments, which ends by itself."""
        command = ["sh", str(self.files / "start"), *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            command = ["sh", str(self.files / "start")]
            self._process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

        def listens() -> bool:
            assert self._process
            assert self._process.poll() is None, self.log()
            return "serving initial configuration" in self.log()

        wait_for("proxy", listens, SECONDS)

    def __enter__(self) -> Self:
        """Start it; it stops at the end of the block."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, if it runs."""
        self.stop()

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process:
            self._process.terminate()
            self._process.wait(SECONDS)
            self._process = None

    def log(self) -> str:
        """Return what it has said."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def root(self) -> str:
        """Return the certificate of its own CA, once there is one."""
        wait_for("certificate", lambda: "certificate obtained successfully" in self.log(), SECONDS)
        done = self.run("root")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self, cadata: str) -> httpx.Client:
        """Return a client that trusts a CA, and takes the proxy for the host of PREFECT_UI_URL."""
        context = ssl.create_default_context(cadata=cadata)
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.tls_port}",
            headers={"Host": HOST},
            verify=context,
            http2=True,
            event_hooks={"request": [lambda request: request.extensions.update(sni_hostname=HOST)]},
            timeout=SECONDS,
        )


def running(folder: Path, **environment: str) -> Proxy:
    """Return a proxy that gets what compose would give it; it runs as long as it is entered."""
    return Proxy(folder, environment)


class Api:
    """Stands for an API server: a real HTTP server that notes what it is asked, and answers as it is told.

    Attributes:
        asked: Method, path and headers of every request but health checks, in their order.
        is_ready: What `/api/ready` says.
        breaks: Whether it closes the connection of a request once it has read that.
        go_on: Set to let the second half of `/stream` go.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.asked: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.checks = 0
        self.is_ready = True
        self.breaks = False
        self.go_on = threading.Event()
        config = uvicorn.Config(
            self._answer,
            host="127.0.0.1",
            port=self.port,
            log_level="warning",
            interface="asgi3",
            lifespan="off",
            ws="websockets-sansio",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> "Api":
        self._thread.start()
        wait_for("API server", lambda: self._server.started, SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it with all of its connections."""
        self.go_on.set()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        if path == "/api/ready":
            self.checks += 1
            await self._send(send, 200 if self.is_ready else 503, b"")
            return
        self.asked.append((str(scope.get("method", "websocket")), path, headers))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if self.breaks:
            for connection in list(self._server.server_state.connections):
                transport: Any = getattr(connection, "transport", None)
                if transport:
                    transport.abort()
            return
        if path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first;", "more_body": True})
            await asyncio.to_thread(self.go_on.wait, SECONDS)
            await send({"type": "http.response.body", "body": b"second"})
            return
        told = {
            "port": self.port,
            "headers": headers,
            "size": len(body),
            "query": scope["query_string"].decode(),
        }
        await self._send(send, 200, json.dumps(told).encode())

    async def _send(self, send: Send, status: int, body: bytes) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
