"""Git repositories over https, read-only: in a process of its own, or in a test's.

Usage: git_over_https.py CERTIFICATE ROOT PORT    (every repository below ROOT, on all addresses)
"""

import contextlib
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class GitServer(ThreadingHTTPServer):
    """Serves every repository below a folder over TLS.

    Args:
        certificate: A PEM file with key and certificate.
        root: The folder.
        address: Where to listen; port 0 takes a free one.
        handler: What answers; a test may ask for more there.
    """

    def __init__(
        self,
        certificate: Path,
        root: Path,
        address: tuple[str, int] = ("127.0.0.1", 0),
        handler: "type[GitHandler] | None" = None,
    ) -> None:
        super().__init__(address, handler or GitHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.root = root


class GitHandler(BaseHTTPRequestHandler):
    """Smart HTTP, by git's own program for it."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
        """Be silent."""

    def do_GET(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve()

    def serve(self) -> None:
        """Answer one request."""
        assert isinstance(self.server, GitServer)
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(self.server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": parts.path,
                "QUERY_STRING": parts.query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": "test",
            },
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def git_over_https(
    certificate: Path, root: Path, handler: type[GitHandler] | None = None
) -> Iterator[GitServer]:
    """Serve the repositories below a folder on a free port of this machine."""
    server = GitServer(certificate, root, handler=handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    GitServer(Path(sys.argv[1]), Path(sys.argv[2]), ("0.0.0.0", int(sys.argv[3]))).serve_forever()
