"""A Google service account of the tests' own: its key, and a server that gives tokens for what it signs."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

EMAIL = "taxi-loader@{project}.iam.gserviceaccount.com"
AUDIENCE = "https://oauth2.googleapis.com/token"  # whatever the key's token_uri is
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class TokenServer(ThreadingHTTPServer):
    """Gives an access token for an assertion that the account's key signed, as oauth2.googleapis.com does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}/token"
        self.public_key = b""
        self.scopes: list[str] = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, TokenServer)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        try:
            assert form["grant_type"] == GRANT
            claims = jwt.decode(form["assertion"], certs=server.public_key, audience=AUDIENCE)
            server.scopes.append(claims["scope"])
            status, answer = 200, {"access_token": "ya29.test", "expires_in": 3600, "token_type": "Bearer"}
        except (AssertionError, KeyError, ValueError) as error:
            status, answer = 400, {"error": "invalid_grant", "error_description": str(error)}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
        """Be silent."""


@contextmanager
def service_account(project: str) -> Iterator[dict[str, str]]:
    """Give the JSON key of a service account; its `token_uri` answers as long as the block lasts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = serialization.Encoding.PEM
    with TokenServer() as server:
        server.public_key = key.public_key().public_bytes(
            text, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private = key.private_bytes(
            text, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield {
            "type": "service_account",
            "project_id": project,
            "private_key_id": "1",
            "private_key": private,
            "client_email": EMAIL.format(project=project),
            "client_id": "1",
            "token_uri": server.address,
        }
        server.shutdown()
        thread.join()
