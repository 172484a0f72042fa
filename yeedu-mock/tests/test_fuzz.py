"""Whatever request a client sends, the mock answers in JSON, does not fail, and serves on."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zlib import crc32

import pytest
import requests
from generated_requests import STEADY, Operation, operations
from hypothesis import given, seed, settings

from yeedu_mock.control.switches import Switches
from yeedu_mock.state.store import Store
from yeedu_mock.testing import default_settings, running_mock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yeedu_mock.testing import RunningMock

# For each operation; the same ones each time, so that a change of the mock is what makes a test fail.
EXAMPLES = int(os.environ.get("YEEDU_FUZZ_EXAMPLES", "8"))
NOT_SENT = {
    "POST /_control/reset": "ends the runs and sessions that the others need; sent at the end instead",
    "POST /_control/runs/{run_id}/kernel/kill": "no run has a process here; test_control.py kills one",
}
# Runs are held back by this switch, because starting them would execute generated text as programs.
HOLDING = {**Switches().model_dump(), "start_by_hand": True}
HELD_BACK = {"status": "RUNNING"}


@pytest.fixture(scope="module")
def yeedu_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMock]:
    """A mock of this module's own: what is done to it here would disturb the other tests."""
    with running_mock(default_settings(tmp_path_factory.mktemp("fuzzed-mock"))) as mock:
        yield mock


@pytest.fixture
def held(client: Any, yeedu_mock: RunningMock) -> Iterator[Any]:
    """A client of a mock that starts no run, with a job run and a notebook run that wait."""
    control = f"{yeedu_mock.url}/_control"
    assert requests.patch(f"{control}/switches", json=HOLDING, timeout=90).status_code == 200
    client.run_job(101)
    client.run_notebook(201)
    yield client
    assert requests.post(f"{control}/reset", timeout=90).status_code == 200


def send(client: Any, operation: Operation, sent: dict[str, Any]) -> requests.Response:
    path = operation.path
    for name, value in sent["path"].items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe="", errors="replace"))
    query = {
        name: [str(one).encode(errors="replace") for one in (value if isinstance(value, list) else [value])]
        for name, value in (sent["query"] | sent["more"]).items()
    }
    authorization = sent["authorization"].replace("logged in", f"Bearer {client.token}").encode("latin-1")
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    body = sent["body"]
    return client.session.request(
        operation.method, client.url + path, params=query, data=body, headers=headers, timeout=90
    )


def check(answer: requests.Response) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code == 204:
        assert not answer.content
    elif "content-disposition" not in answer.headers:
        assert answer.headers["content-type"] == "application/json"
        content = answer.json()
        if answer.status_code >= 400:
            assert {"error_code", "error_message", "message"} <= content.keys()
            assert all(isinstance(value, str) and value for value in content.values())


def keep_held(operation: Operation, sent: dict[str, Any]) -> dict[str, Any]:
    """Return a request without what would let a run start."""
    try:
        body = json.loads(sent["body"])
    except (ValueError, RecursionError):
        return sent
    if not isinstance(body, dict):
        return sent
    if str(operation) == "POST /_control/runs/{run_id}" and HELD_BACK.items() <= body.items():
        body["status"] = "DONE"
    if str(operation) == "PATCH /_control/switches":
        for name in ("start_by_hand", "connections_to_drop", "submission_seconds", "cluster_start_seconds"):
            body.pop(name, None)  # the latter would have the next requests wait, or fail
    return {**sent, "body": json.dumps(body)}


def put_right(client: Any, mock: RunningMock, operation: Operation) -> None:
    """Undo what a request may have done to those that follow."""
    control = f"{mock.url}/_control"
    if operation.path == "/_control/faults":
        check(requests.get(f"{control}/faults", timeout=90))
        check(requests.delete(f"{control}/faults", timeout=90))
    elif operation.path == "/_control/switches":
        check(requests.patch(f"{control}/switches", json=HOLDING, timeout=90))
    elif operation.path in {"/api/v1/logout", "/_control/sessions/expire"}:
        client.log_in(mock.settings.username, mock.settings.password or "")
        client.post(f"user/select/{mock.tenant}")


def test_no_request_is_answered_with_a_failure_or_ends_the_mock(held, yeedu_mock, subtests):
    for operation in operations(yeedu_mock):
        if str(operation) in NOT_SENT:
            continue
        with subtests.test(operation=str(operation)):
            fuzz_operation(held, yeedu_mock, operation)
    with subtests.test("everything that was made can be shown"):
        everything_is_shown(held, yeedu_mock)


def fuzz_operation(client: Any, mock: RunningMock, operation: Operation) -> None:
    @seed(crc32(str(operation).encode()))  # else operations of one shape would all get the same values
    @settings(STEADY, max_examples=EXAMPLES * (5 if str(operation) == "POST /_control/faults" else 1))
    @given(operation.requests())
    def fuzz(sent: dict[str, Any]) -> None:
        check(send(client, operation, keep_held(operation, sent)))
        put_right(client, mock, operation)

    fuzz()


def everything_is_shown(client: Any, mock: RunningMock) -> None:
    assert requests.get(mock.health_url, timeout=90).json()["message"] == "OK"
    overview = requests.get(mock.url, headers={"Accept": "application/json"}, timeout=90).json()
    made = [*overview["jobs"], *overview["notebooks"], *overview["runs"]]
    assert len(made) > 7
    for page in [mock.url, *(one["url"] for one in made)]:
        assert requests.get(page, timeout=90).status_code == 200, page
    for kind in ("job", "notebook"):
        for one in overview[f"{kind}s"]:
            assert one["url"].endswith(f"/spark/{kind}/{one[f'{kind}_id']}")
    for kind in ("job", "notebook"):
        area = "spark/job" if kind == "job" else "notebook"
        for one in overview[f"{kind}s"]:
            for path, key in ((f"{area}/export", f"{kind}_id"), (f"{area}/conf/export", f"{kind}_conf_id")):
                answer = client.get(client.workspace(path), params={key: one[f"{kind}_id"]})
                assert answer.status_code in {200, 404}, answer.text
    for path in ("clusters", "workspaces", client.workspace("spark/job/runs"), client.workspace("notebooks")):
        assert client.get(path).status_code == 200
    Store(mock.settings.state_directory / "state.db").close()  # another start could read it all
