"""Tasks in processes of their own: each call has its own run, and a task's retry finds it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pooled_flow import equal_calls

if TYPE_CHECKING:
    from pathlib import Path

    from mock_yeedu import MockYeedu

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_equal_calls_in_a_pool_of_processes_are_different_runs(mock: MockYeedu, tmp_path: Path) -> None:
    job = mock.control("POST", "jobs", json={"program": "print('done')"})["job_id"]
    found = equal_calls(mock.url(f"job/{job}"), tmp_path / "failed")
    assert len(set(found)) == 5
    assert len(mock.runs_of(job)) == 5  # the task that was tried twice has found its own again
