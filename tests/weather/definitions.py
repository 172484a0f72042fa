"""The mock of one sequence: the job or notebook it is about, and waiting until the mock is done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from tests.weather.mock_weather import OWN_CLUSTER, Weather
from yeedu_mock.state.enums import RunStatus
from yeedu_mock.state.records import JobDefinition, NotebookDefinition

if TYPE_CHECKING:
    from tests.weather.plan import Plan
    from yeedu_mock.testing import RunningMock

REAL_SECONDS_OF_A_REQUEST = 20.0


@dataclass
class Yeedu:
    """A mock and its weather."""

    running: RunningMock
    weather: Weather
    verify: str | bool = True

    def control(self, method: str, path: str, **body: Any) -> Any:
        response = requests.request(
            method, f"{self.running.url}/_control/{path}", json=body, timeout=30, verify=self.verify
        )
        response.raise_for_status()
        return response.json() if response.content else None

    def add_definition(self, plan: Plan) -> JobDefinition | NotebookDefinition:
        """Start afresh, and add the job or notebook of a plan."""
        self.control("POST", "reset")
        if plan.is_too_small:
            self.control("PATCH", f"clusters/{OWN_CLUSTER}", is_too_small=True)
        store = self.running.mock.store
        if plan.kind == "job":
            added = self.control(
                "POST", "jobs", program=program(plan), language="shell", cluster_id=OWN_CLUSTER
            )
            definition = store.get(JobDefinition, added["job_id"])
        else:
            added = self.control("POST", "notebooks", cells=cells(plan), cluster_id=OWN_CLUSTER)
            definition = store.get(NotebookDefinition, added["notebook_id"])
        assert definition is not None
        definition.settings["max_concurrency"] = plan.max_concurrency
        return definition

    def wait_for_stops(self) -> None:
        """Wait until what is being stopped has been."""
        deadline = time.monotonic() + REAL_SECONDS_OF_A_REQUEST
        while time.monotonic() < deadline and any(
            run.status is RunStatus.STOPPING for run in self.running.mock.runs.unfinished()
        ):
            time.sleep(0.02)

    def wait_for_requests(self) -> None:
        """Wait until Yeedu has answered all that it was asked."""
        deadline = time.monotonic() + REAL_SECONDS_OF_A_REQUEST
        journal = self.running.mock.control.journal
        while time.monotonic() < deadline:
            answered = sum(entry["path"].startswith("/api/") for entry in journal.since(0))
            if answered >= self.weather.requests:
                return
            time.sleep(0.02)


def program(plan: Plan) -> str:
    """Return what a job is to run; its output says whose it is."""
    seconds = 3600 if plan.program == "never" else plan.takes / 10
    lines = f"seq {plan.lines}\n" if plan.lines else ""
    return (
        f'echo "begin $YEEDU_RUN_ID"\n{lines}sleep {seconds}\necho "end $YEEDU_RUN_ID"\n'
        f"exit {3 if plan.program == 'badly' else 0}\n"
    )


def cells(plan: Plan) -> list[str]:
    """Return what a notebook is to run; its folder says whose it is."""
    seconds = 3600 if plan.program == "never" else plan.takes / 10
    return [
        "import os\nprint('begin', os.path.basename(os.getcwd()))",
        f"import time\ntime.sleep({seconds})\nfor number in range({plan.lines}): print('line', number)",
        "1 / 0" if plan.program == "badly" else "print('end')",
    ]
