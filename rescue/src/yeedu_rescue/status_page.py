"""A page on the loopback interface that says whether this service does its work."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from yeedu_rescue.rounds import Rounds


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
        def do_GET(self) -> None:
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

    with ThreadingHTTPServer(("127.0.0.1", port), Page) as server:
        thread = threading.Thread(target=server.serve_forever, name="status page", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
