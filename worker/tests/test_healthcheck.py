"""The worker's health check against an endpoint that answers as Prefect's does."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


@contextmanager
def endpoint(status: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def check(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "yeedu_worker.healthcheck"],
        env={"PREFECT_WORKER_WEBSERVER_PORT": str(port), "http_proxy": "http://127.0.0.1:9", "no_proxy": "x"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_polling_worker_is_healthy() -> None:
    with endpoint(200) as port:
        assert check(port).returncode == 0


def test_worker_that_stopped_polling_is_not() -> None:
    with endpoint(503) as port:
        done = check(port)
    assert done.returncode == 1
    assert "503" in done.stderr


def test_missing_worker_is_not() -> None:
    with endpoint(200) as port:
        pass
    assert check(port).returncode == 1
