"""A proxy before a Prefect server, which answers late, refuses or is away as a test wants it."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class Between:
    """What stands between the service and the server.

    Attributes:
        url: Of the API, through the proxy.
        answers: The status of the answer to a request, by a pattern for its method and path; such a request
            does not reach the server, and the answer's content says nothing.
        delay_seconds: Of every answer.
        is_away: Whether connections end without a word.
        speed: How many seconds the server's clock, as its answers tell it, goes on in one second.
        began: When that began.
        asked: What came, in its order.
    """

    url: str
    answers: dict[str, int] = field(default_factory=dict)
    delay_seconds: float = 0.0
    is_away: bool = False
    speed: float = 1.0
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked: list[str] = field(default_factory=list)

    def sped_up(self, at: datetime) -> datetime:
        """Return what the server's clock shows at a moment."""
        return self.began + (at - self.began) * self.speed

    def count(self, pattern: str) -> int:
        """Return how often something was asked."""
        return sum(bool(re.search(pattern, one)) for one in self.asked)


@contextmanager
def between(upstream: str) -> Iterator[Between]:
    """Stand before a server's API for as long as the block lasts."""
    host = urlsplit(upstream).netloc

    class Passage(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            what = f"{self.command} {self.path}"
            state.asked.append(what)
            if state.is_away:
                self.close_connection = True
                return
            refused = next((status for rule, status in state.answers.items() if re.search(rule, what)), None)
            if refused:
                status, content, date = refused, b"[{}]", None
            else:
                connection = HTTPConnection(host, timeout=60)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    got = connection.getresponse()
                    status, content = got.status, got.read()
                    date = format_datetime(state.sped_up(datetime.now(UTC)), usegmt=True)
                finally:
                    connection.close()
            time.sleep(state.delay_seconds)  # the lateness of the answer is what tests are about
            self.send_response_only(status)
            if date:
                self.send_header("Date", date)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = pass_on  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Passage) as server:
        state = Between(f"http://127.0.0.1:{server.server_port}/api")
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield state
        finally:
            server.shutdown()
