"""A package index of this machine: a folder of wheels, served over TLS."""

import base64
import contextlib
import functools
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.tls_server import server_context


def add_wheel(index: Path, name: str, version: str = "1.0") -> str:
    """Add the wheel of a package that is one module, and return its line in a hashed lock."""
    wheel, info = index / name / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    wheel.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


class _Handler(SimpleHTTPRequestHandler):
    """Lists folders as a simple index does, to those who log in."""

    def __init__(self, *arguments: Any, authorization: str, **options: Any) -> None:
        self._authorization = authorization
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        """Serve, or ask for the login."""
        if self.headers.get("Authorization", "") == self._authorization:
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="packages"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that does not trust the certificate."""


@contextlib.contextmanager
def serve_index(index: Path, certificate: Path, login: str) -> Iterator[str]:
    """Serve an index, a folder of wheels for each package; yields its address, with the login in it.

    It has a name in it, since not every pip verifies the certificate of a bare IP address.

    Args:
        index: The folder.
        certificate: The server's, with its key.
        login: What it asks for, ``user:password``.
    """
    authorization = f"Basic {base64.b64encode(login.encode()).decode()}"
    handler = functools.partial(_Handler, directory=str(index), authorization=authorization)
    with _Server(("127.0.0.1", 0), handler) as server:
        server.socket = server_context(certificate).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"https://{login}@localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
