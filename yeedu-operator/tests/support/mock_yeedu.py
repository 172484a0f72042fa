"""The mock Yeedu as a process, and what a test may do to it."""

import contextlib
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import trustme
from addressed import AddressedClient
from scripted_yeedu import TENANT

from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.tls import TLSSettings


@dataclass(frozen=True)
class MockYeedu:
    """The mock Yeedu in a process of its own."""

    base: str
    password: str
    process: subprocess.Popen[bytes]
    certificate: Path | None = None

    def url(self, path: str) -> str:
        return f"{self.base}/tenant/{TENANT}/workspace/1/{path}"

    def client(self, path: str, token: str | None = None) -> AddressedClient:
        """Return a client of the user `demo`, who logs in with the password or has a token."""
        credentials = Credentials(token=token) if token else Credentials("demo", self.password)
        tls = TLSSettings.from_options(True, self.certificate)
        return AddressedClient(self.url(path), credentials, tls=tls)

    def runs_of(
        self, definition: int, kind: str = "spark/job", name: str = "job_ids"
    ) -> list[dict[str, Any]]:
        """Return the runs of a job, or of a notebook, as Yeedu lists them."""
        with self.client("job/1") as client:
            path = f"workspace/1/{kind}/runs"
            return client.get_object(path, "for runs", params={name: definition})["data"]

    def control(self, method: str, path: str, **arguments: Any) -> Any:
        response = requests.request(method, f"{self.base}/_control/{path}", timeout=90, **arguments)
        response.raise_for_status()
        return response.json() if response.content else None


def self_signed(folder: Path) -> Path:
    """Return a PEM file with a key and a certificate for 127.0.0.1, and the CA that vouches for it."""
    authority = trustme.CA()
    path = folder / "yeedu.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    authority.cert_pem.write_to_path(path, append=True)
    return path


@contextlib.contextmanager
def running_mock(
    folder: Path, certificate: Path | None = None, auth_type: str = "LDAP"
) -> Iterator[MockYeedu]:
    """Run a mock until the block ends; with a certificate it serves https."""
    password = secrets.token_urlsafe(12)
    (folder / "password").write_text(password)
    log = folder / "log"
    options = ["--port", "0", "--state-directory", folder / "state", "--password-file", folder / "password"]
    options += ["--auth-type", auth_type]
    if certificate is not None:
        options += ["--tls-certificate", certificate]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("yeedu-mock"), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "YEEDU_MOCK_CONTROL": "on"},
        )
    try:
        yield MockYeedu(base_of(process, log, certificate), password, process, certificate)
    finally:
        process.terminate()
        process.wait(60)


def base_of(process: subprocess.Popen[bytes], log: Path, certificate: Path | None) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if match := re.search(r"https?://127\.0\.0\.1:[1-9]\d*", log.read_text()):
            base = match[0]
            try:
                if requests.get(f"{base}/healthCheck", timeout=5, verify=str(certificate or "") or True).ok:
                    return base
            except requests.RequestException:
                pass  # not listening yet, or on a busy machine not answering yet
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"The mock did not start:\n{log.read_text()}")
