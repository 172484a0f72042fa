"""A mock on which something has run before, for the contract suite to look at."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from contract import cli
from contract.assumptions_of_runs import ASSUMPTIONS
from contract.findings import Verdict
from contract.settings import read_settings
from yeedu_mock.settings import Settings
from yeedu_mock.testing import RunningMock, default_settings, running_mock

PASSWORD = "planted-password"
LONG = "import time\nwhile True:\n    time.sleep(0.1)\n"
PRINTING = ("import sys; print(1); print(2); print(3, file=sys.stderr)", "print(1); print(2)")


def settings(folder: Path, **others: Any) -> Settings:
    return replace(default_settings(folder), password=PASSWORD, **others)


class Yeedu:
    """A mock on which jobs and a notebook have run before."""

    def __init__(self, mock: RunningMock, *, has_runs: bool = True) -> None:
        self.mock = mock
        self.api = f"{mock.url}/api/v1"
        self.session = requests.Session()
        self.token = self.log_in()
        self.session.headers["Authorization"] = f"Bearer {self.token}"
        self.session.post(f"{self.api}/user/select/{mock.tenant}", timeout=90).raise_for_status()
        self.long = self.job(LONG)
        for program in PRINTING if has_runs else ():
            self.ends("spark/job", self.starts("spark/job", {"job_id": self.job(program)}))
        if has_runs:
            run = self.starts("notebook", {"notebook_id": 201})
            self.session.post(f"{self.api}/workspace/1/notebook/run/kill/{run}", timeout=90)
            self.ends("notebook", run)

    def log_in(self) -> str:
        body = {"username": "demo", "password": PASSWORD}
        return requests.post(f"{self.api}/login", json=body, timeout=90).json()["token"]

    def job(self, program: str) -> int:
        body = {"program": program, "name": f"job {time.monotonic_ns()}"}
        return requests.post(f"{self.mock.url}/_control/jobs", json=body, timeout=90).json()["job_id"]

    def starts(self, kind: str, body: dict[str, Any]) -> int:
        answer = self.session.post(f"{self.api}/workspace/1/{kind}/run", json=body, timeout=90)
        return answer.json()["run_id"]

    def ends(self, kind: str, run: int) -> None:
        deadline = time.monotonic() + 60
        url = f"{self.api}/workspace/1/{kind}/run/{run}"
        while self.session.get(url, timeout=90).json()["run_status"] not in {"DONE", "ERROR", "STOPPED"}:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def runs(self) -> list[dict[str, Any]]:
        return requests.get(f"{self.mock.url}/_control/runs", timeout=90).json()

    def wait_until_all_are_listed(self) -> None:
        """Wait until what ran before is old enough to be in the lists."""
        deadline = time.monotonic() + 60
        paths = [f"{self.api}/workspace/1/{kind}/runs" for kind in ("spark/job", "notebook")]
        while sum(len(self.session.get(path, timeout=90).json()["data"]) for path in paths) < len(
            self.runs()
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def unfinished(self) -> list[dict[str, Any]]:
        return [run for run in self.runs() if run["run_status"] in {"SUBMITTED", "RUNNING", "STOPPING"}]

    def environment(self, **changes: str) -> dict[str, str]:
        return {
            "YEEDU_URL": self.mock.job_url(self.long),
            "YEEDU_NOTEBOOK_URL": self.mock.notebook_url(201),
            "YEEDU_USERNAME": "demo",
            "YEEDU_PASSWORD": PASSWORD,
            **changes,
        }

    def verdicts(self, **changes: str) -> dict[str, Verdict]:
        findings = cli.probe_server(read_settings(self.environment(**changes)))
        return {key: findings[key].verdict for key in ASSUMPTIONS}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yeedu]:
    """The mock of a module's tests."""
    with running_mock(settings(tmp_path_factory.mktemp("contract"))) as mock:
        yield Yeedu(mock)


@pytest.fixture
def yeedu(fresh: Yeedu) -> Iterator[Yeedu]:
    """The mock, whose switches and faults are as they were at the end."""
    yield fresh
    fresh.mock.mock.control.reset_switches()
    fresh.mock.mock.control.faults.clear()
