"""`make status` says which changes to Prefect its services have left out, and nothing where they have not."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.api import ApiUnavailableError, PrefectApi
from local.containers.engine import Container
from local.status.skipped_patches import container_lines, process_lines

TOLD = "Prefect's own code runs in place of heartbeats (Prefect 3.99.0 is not known, 3.9.1 is)"


class Health(PrefectApi):
    """Answers as the server's page of health."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        super().__init__("http://127.0.0.1:1/api")
        self._answer = answer

    def get(self, path: str) -> Any:
        assert path == "/health/services"
        if self._answer is None:
            raise ApiUnavailableError("it answered 404", 404)
        return self._answer


def worker(health_output: str) -> Container:
    return Container("1", "worker", "running", 0, "healthy", "", False, frozenset(), health_output)


def test_nothing_is_said_of_services_that_know_their_prefect(tmp_path: Path) -> None:
    for answer in ({"message": "OK"}, None):
        assert list(container_lines(Health(answer), [worker("")])) == []
        assert list(process_lines(Health(answer), tmp_path)) == []


def test_containers_tell_by_their_health() -> None:
    lines = container_lines(
        Health({"message": "OK", "patches_left_out": TOLD}),
        [worker(f"{TOLD}\n"), worker("the worker waits for its pool")],
    )
    assert list(lines) == [f"server          {TOLD}", f"worker          {TOLD}"]


@pytest.mark.parametrize("told", [TOLD, ""])
def test_worker_that_is_a_process_tells_by_its_file(tmp_path: Path, told: str) -> None:
    (tmp_path / "worker-patches.json").write_text(json.dumps({"left_out": told, "patches": []}))
    lines = list(process_lines(Health({"message": "OK"}), tmp_path))
    assert lines == ([f"worker          {told}"] if told else [])
