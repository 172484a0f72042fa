"""One Prefect server for all tests of the flows, and what they read from it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter
from prefect.client.schemas.objects import State
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_BATCH_INTERVAL,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness

FLOWS = Path(__file__).parents[1]
SERVER_START_SECONDS = 90

# As Prefect does when it loads a flow, so that flows import each other by their files' names.
sys.path.insert(0, str(FLOWS))

ReadLog = Callable[..., list[str]]
RunPython = Callable[..., "subprocess.Popen[str]"]


def _wait_for(what: str, look: Callable[[], Any], timeout_seconds: float = 30) -> Any:
    """Return the first true answer of `look`; fail the test after the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"no {what} within {timeout_seconds} s"
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """Wait for a condition: what it is, how to look for it, and the seconds to wait at most."""
    return _wait_for


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The address of a Prefect server of these tests' own."""
    with (
        # The telemetry of a starting server may lock its database just when a test saves a block.
        temporary_settings({PREFECT_SERVER_ANALYTICS_ENABLED: False}),
        prefect_test_harness(server_startup_timeout=SERVER_START_SECONDS),
        temporary_settings({PREFECT_LOGGING_TO_API_BATCH_INTERVAL: 0.1}),
    ):
        url = PREFECT_API_URL.value()
        assert url is not None
        yield url


@pytest.fixture
def read_log(prefect_server: str) -> ReadLog:
    """Read the messages of a finished run's log, once it is complete."""

    def read(state: State[Any]) -> list[str]:
        run_id = state.state_details.flow_run_id
        assert run_id is not None

        def complete() -> list[str] | None:
            with get_client(sync_client=True) as client:
                logs = client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": [run_id]}}))
            messages = [log.message for log in sorted(logs, key=lambda log: log.timestamp)]
            # A task's end looks alike, and comes before the flow's own.
            return messages if messages and messages[-1].startswith("Finished in state") else None

        return _wait_for("complete log", complete)

    return read


@pytest.fixture
def run_python(prefect_server: str, tmp_path: Path) -> Iterator[RunPython]:
    """Start Python in a process of its own, as a worker would; it is ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, cwd: Path = tmp_path, **variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=os.environ
            | {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path / "home")}
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
