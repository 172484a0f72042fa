"""Serves a status page on the loopback interface, for the health check."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from socket import socket

    from yeedu_rescue.reconciler import Reconciler

    _Request = socket | tuple[bytes, socket]

# The health check on this machine polls the page every few seconds.
NAMES = ("127.0.0.1", "localhost")
MAX_THREADS = 16
REQUEST_TIMEOUT_SECONDS = 3.0


class _SmallServer(ThreadingHTTPServer):
    """A server with a few threads, which silently drops further requests."""

    request_queue_size = 64
    _free_threads = threading.BoundedSemaphore(MAX_THREADS)

    def process_request(self, request: _Request, client_address: object) -> None:
        """Answer in a thread if one is free."""
        if self._free_threads.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        """Answer, and free the thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_threads.release()

    def handle_error(self, request: _Request, client_address: object) -> None:
        """Log nothing: the client has gone."""


@contextmanager
def status_page(reconciler: Reconciler, port: int) -> Generator[int]:
    """Serve the page while the context is open, and yield its port.

    Args:
        reconciler: The reconciler whose status the page shows.
        port: The port on 127.0.0.1; 0 takes any free one.

    Raises:
        OSError: The port is taken.
    """

    class Page(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_SECONDS

        def do_GET(self) -> None:
            # DNS rebinding: a web page may resolve its own name to this machine, and read the answer.
            if (self.headers.get("Host") or "").partition(":")[0] not in NAMES:
                self.send_error(403, "This host name is not allowed")
                return
            told = {
                "last_answer_seconds_ago": round(reconciler.silent_seconds, 1),
                "troubles": reconciler.failures,
            }
            body = json.dumps(told).encode()
            self.send_response(200 if reconciler.is_working else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Log nothing: a health check every few seconds is not worth a line."""

    with _SmallServer(("127.0.0.1", port), Page) as server:
        thread = threading.Thread(target=server.serve_forever, name="status page", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
