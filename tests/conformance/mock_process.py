"""The mock as users start it: a process of its own, with its defaults."""

import contextlib
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import requests

STOP_TIMEOUT_SECONDS = 90
CALL_TIMEOUT_SECONDS = 90
API = "/api/v1/"


@dataclass(frozen=True)
class MockProcess:
    """A running mock.

    Attributes:
        url: Base URL, without a slash at the end.
        password: Of its user `demo`, made up for this one mock.
    """

    url: str
    password: str = field(repr=False)
    username: str = "demo"

    @property
    def shown(self) -> dict[str, Any]:
        """What the mock's page shows."""
        answer = requests.get(self.url, headers={"Accept": "application/json"}, timeout=CALL_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()

    @property
    def examples(self) -> dict[str, Any]:
        """The URLs to paste, by generation and kind."""
        return self.shown["examples"]

    @property
    def tenant(self) -> str:
        """The UUID of the first tenant."""
        return self.shown["tenants"][0]["tenant_id"]

    def job_conf_url(self, job_conf_id: int) -> str:
        """Return the URL that a user of the v1 generation would paste for a job."""
        base, _, _ = self.examples["v1"]["job"].rpartition("/")
        return f"{base}/{job_conf_id}"

    def forget_calls(self) -> None:
        """Begin the journal anew."""
        requests.delete(f"{self.url}/_control/journal", timeout=CALL_TIMEOUT_SECONDS).raise_for_status()

    def switch(self, **switches: Any) -> None:
        """Change how the mock behaves."""
        url = f"{self.url}/_control/switches"
        requests.patch(url, json=switches, timeout=CALL_TIMEOUT_SECONDS).raise_for_status()

    def calls(self) -> list[str]:
        """Return every call of the API so far as `METHOD path?query status`, in the order they began."""
        journal = requests.get(f"{self.url}/_control/journal", timeout=CALL_TIMEOUT_SECONDS).json()
        return [
            f"{entry['method']} {entry['path'].removeprefix(API)} {entry['status']}"
            for entry in journal
            if entry["path"].startswith(API)
        ]

    def add_user(self, username: str) -> int:
        """Add a user of the tenant with the same password, who administers nothing, and return their id."""
        body = {"username": username, "password": self.password, "tenants": [self.tenant]}
        return self._control("users", body)["user_id"]

    def add_group(self, groupname: str, *usernames: str) -> int:
        """Add a group of users of the tenant and return its id."""
        body = {"groupname": groupname, "tenant": self.tenant, "usernames": usernames}
        return self._control("groups", body)["group_id"]

    def log_in(self, username: str | None = None) -> str:
        """Log in, select the tenant, and return the token."""
        body = {"username": username or self.username, "password": self.password}
        answer = requests.post(f"{self.url}{API}login", json=body, timeout=CALL_TIMEOUT_SECONDS)
        token = answer.json()["token"]
        selected = requests.post(
            f"{self.url}{API}user/select/{self.tenant}", headers=_bearer(token), timeout=CALL_TIMEOUT_SECONDS
        )
        assert selected.status_code == 201
        return token

    def call_function(self, run_id: int, payload: Any) -> Any:
        """Call the function that a run serves, once it does, and return its answer."""
        url = f"{self.url}/_control/runs/{run_id}/function"
        deadline = time.monotonic() + CALL_TIMEOUT_SECONDS
        while True:
            answer = requests.post(url, json={"payload": payload}, timeout=CALL_TIMEOUT_SECONDS)
            if answer.status_code != 409 or time.monotonic() > deadline:
                return answer.json()
            time.sleep(0.1)

    def _control(self, path: str, body: dict[str, Any]) -> Any:
        answer = requests.post(f"{self.url}/_control/{path}", json=body, timeout=CALL_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def get(self, token: str, path: str) -> Any:
        """Return the JSON answer of a GET of the API."""
        answer = requests.get(f"{self.url}{API}{path}", headers=_bearer(token), timeout=CALL_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()


@contextlib.contextmanager
def mock_process(folder: Path) -> Iterator[MockProcess]:
    """Run `yeedu-mock` on a free port until the block ends; its log is `folder`/mock.log."""
    password = secrets.token_urlsafe()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("YEEDU_")}
    with (folder / "mock.log").open("w") as log:
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("yeedu-mock")),
                *("--port", "0", "--control", "on", "--state-directory", str(folder / "mock-state")),
            ],
            env=environment | {"YEEDU_MOCK_PASSWORD": password},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        url = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert url, (folder / "mock.log").read_text()
        yield MockProcess(url[0], password)
        process.terminate()
        assert process.wait(STOP_TIMEOUT_SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


def steps(calls: list[str]) -> list[str]:
    """Return calls with each row of equal ones, a client's polling, as one."""
    return [call for call, _ in groupby(calls)]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
