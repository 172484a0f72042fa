"""A page on the loopback interface that says whether this service does its work."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from socket import socket

    from yeedu_rescue.rounds import Rounds

    _Request = socket | tuple[bytes, socket]

# The page is asked by the health check of this machine, every few seconds.
NAMES = ("127.0.0.1", "localhost")
MAX_THREADS = 16
PATIENCE_SECONDS = 3.0


class _SmallServer(ThreadingHTTPServer):
    """A server that has few threads, and turns the others away without a word in the log."""

    request_queue_size = 64
    _room = threading.BoundedSemaphore(MAX_THREADS)

    def process_request(self, request: _Request, client_address: object) -> None:
        """Answer in a thread, where there is room for one."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: _Request, client_address: object) -> None:
        """Say nothing: whoever asked has gone."""


@contextmanager
def status_page(rounds: Rounds, port: int) -> Generator[int]:
    """Serve the page while the context is open, and yield its port.

    Args:
        rounds: What the page is about.
        port: On 127.0.0.1; 0 takes any free one.

    Raises:
        OSError: The port is taken.
    """

    class Page(BaseHTTPRequestHandler):
        timeout = PATIENCE_SECONDS

        def do_GET(self) -> None:
            # A web page may have a name of its own lead to this machine, and read the answer.
            if (self.headers.get("Host") or "").partition(":")[0] not in NAMES:
                self.send_error(403, "That is not a name of this page")
                return
            told = {
                "last_answer_seconds_ago": round(rounds.silent_seconds, 1),
                "troubles": rounds.troubles,
            }
            body = json.dumps(told).encode()
            self.send_response(200 if rounds.did_its_work else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing: a health check every few seconds is not worth a line."""

    with _SmallServer(("127.0.0.1", port), Page) as server:
        thread = threading.Thread(target=server.serve_forever, name="status page", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
