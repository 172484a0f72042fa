"""Whatever a client sends, the mock answers in JSON, does not fail, and serves on.

Requests are generated from the mock's own OpenAPI document: values that fit its schemas, and odd ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zlib import crc32

import pytest
import requests
import websocket
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from yeedu_mock.control.switches import Switches
from yeedu_mock.state.store import Store
from yeedu_mock.testing import default_settings, running_mock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yeedu_mock.testing import RunningMock

STEADY = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
NOT_SENT = {
    "POST /_control/reset": "ends the runs and sessions that the others need; sent at the end instead",
    "POST /_control/runs/{run_id}/kernel/kill": "no run has a process here; test_control.py kills one",
}
# Runs are held back by this switch, because starting them would execute generated text as programs.
HOLDING = {**Switches().model_dump(), "start_by_hand": True}
HELD_BACK = {"status": "RUNNING"}

UNDOCUMENTED_QUERY = [
    *("job_id", "job_name", "notebook_id", "notebook_name", "job_conf_id", "job_conf_name"),
    *("notebook_conf_id", "job_conf_ids", "job_status", "isActive", "enable", "has_run", "cluster_ids"),
]
KNOWN = [
    1,
    2,
    10,
    30,
    31,
    101,
    102,
    201,
    202,
    "hello-job",
    "hello-notebook",
    "demo-cluster",
    "stdout",
    "true",
    "日本",
    "9" * 5000,
]
KNOWN_TEXT = [one for one in KNOWN if isinstance(one, str)]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ODD_TEXT = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "a\r\nb: c",
        'a"b',
        "日本",
        "é",
        "../..",
        "%",
        "٣",
        "9" * 5000,
        "a{99999999999}",
        "(" * 3000,
    ]
)
NUMBERS = st.integers(-(2**70), 2**70) | st.sampled_from([1e308, -0.5, float("nan"), float("inf"), 10**400])
ODD = st.recursive(
    st.none() | st.booleans() | NUMBERS | ODD_TEXT | TEXT | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ODD_TEXT | TEXT, inner, max_size=2),
    max_leaves=4,
)
RAW_BODIES = st.binary(max_size=8) | st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b'{"name": "x"'])


@dataclass(frozen=True)
class Operation:
    """One method of one path of the document."""

    method: str
    path: str
    details: dict[str, Any]
    schemas: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def parameters(self, place: str) -> dict[str, st.SearchStrategy[Any]]:
        found = [entry for entry in self.details.get("parameters", []) if entry["in"] == place]
        return {entry["name"]: self.value(entry["schema"]) for entry in found}

    def value(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        """Return values: seven of eight that fit a schema, the others of any kind."""
        fitting = self.fitting(schema)
        odd = ODD_TEXT | ODD
        return st.integers(0, 7).flatmap(lambda die: fitting if die else odd)

    def fitting(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self.fitting(self.schemas[schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return st.one_of([self.fitting(one) for one in schema["anyOf"]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        match schema.get("type"):
            case "integer":
                return st.sampled_from([1, 1, 30, 101, 201, 1001, 1002]) | st.integers(-1, 2**64)
            case "number":
                return st.floats(0, 1e9)
            case "boolean":
                return st.booleans()
            case "string":
                return st.sampled_from(KNOWN_TEXT) | ODD_TEXT | TEXT
            case "null":
                return st.none()
            case "array":
                return st.lists(self.value(schema.get("items", {})), max_size=3)
            case "object":
                return self.object(schema)
        return ODD

    def object(self, schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
        properties = {name: self.value(inner) for name, inner in schema.get("properties", {}).items()}
        required = {name: properties.pop(name) for name in schema.get("required", [])}
        more = st.dictionaries(TEXT, ODD, max_size=1) if schema.get("additionalProperties") else st.just({})
        known = st.fixed_dictionaries(required, optional=properties)
        return st.builds(lambda extra, fields: extra | fields, more, known)

    def body(self) -> st.SearchStrategy[Any]:
        content = self.details.get("requestBody", {}).get("content", {})
        if str(self) == "PATCH /_control/switches":
            return self.value({"$ref": "#/components/schemas/Switches"})
        if self.path.endswith("/update"):  # reads its body by itself
            return self.object({"properties": {"cells": {"type": "array"}}, "additionalProperties": True})
        return self.fitting(content["application/json"]["schema"]) if content else st.none()

    def requests(self) -> st.SearchStrategy[dict[str, Any]]:
        undocumented = st.dictionaries(
            st.sampled_from(UNDOCUMENTED_QUERY), st.sampled_from(KNOWN) | ODD_TEXT, max_size=2
        )
        return st.fixed_dictionaries(
            {
                "path": st.fixed_dictionaries(self.parameters("path")),
                "query": st.fixed_dictionaries({}, optional=self.parameters("query")),
                "more": undocumented,
                "body": st.one_of(*[self.body().map(json.dumps)] * 9, RAW_BODIES),
                "authorization": st.sampled_from(
                    ["logged in"] * 30 + ["", "Bearer", "Bearer \xff", "Basic eDp5", "Bearer " + "x" * 9000]
                ),
            }
        )


@pytest.fixture(scope="module")
def yeedu_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMock]:
    """A mock of this module's own: what is done to it here would disturb the other tests."""
    with running_mock(default_settings(tmp_path_factory.mktemp("fuzzed-mock"))) as mock:
        yield mock


@pytest.fixture
def held(client: Any, yeedu_mock: RunningMock) -> Iterator[Any]:
    """A client of a mock that starts no run, with a job run and a notebook run that wait."""
    control = f"{yeedu_mock.url}/_control"
    assert requests.patch(f"{control}/switches", json=HOLDING, timeout=30).status_code == 200
    client.run_job(101)
    client.run_notebook(201)
    yield client
    assert requests.post(f"{control}/reset", timeout=30).status_code == 200


def operations(mock: RunningMock) -> list[Operation]:
    document = requests.get(f"{mock.url}/openapi.json", timeout=30).json()
    schemas = document["components"]["schemas"]
    return [
        Operation(method.upper(), path, details, schemas)
        for path, methods in document["paths"].items()
        for method, details in methods.items()
    ]


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
        operation.method, client.url + path, params=query, data=body, headers=headers, timeout=30
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
        body.pop("start_by_hand", None)
    return {**sent, "body": json.dumps(body)}


def put_right(client: Any, mock: RunningMock, operation: Operation) -> None:
    """Undo what a request may have done to those that follow."""
    control = f"{mock.url}/_control"
    if operation.path == "/_control/faults":
        check(requests.get(f"{control}/faults", timeout=30))
        check(requests.delete(f"{control}/faults", timeout=30))
    elif operation.path == "/_control/switches":
        check(requests.patch(f"{control}/switches", json=HOLDING, timeout=30))
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
    @settings(STEADY, max_examples=40 if str(operation) == "POST /_control/faults" else 8)
    @given(operation.requests())
    def fuzz(sent: dict[str, Any]) -> None:
        check(send(client, operation, keep_held(operation, sent)))
        put_right(client, mock, operation)

    fuzz()


def everything_is_shown(client: Any, mock: RunningMock) -> None:
    assert requests.get(mock.health_url, timeout=30).json()["message"] == "OK"
    overview = requests.get(mock.url, headers={"Accept": "application/json"}, timeout=30).json()
    made = [*overview["jobs"], *overview["notebooks"], *overview["runs"]]
    assert len(made) > 7
    for page in [mock.url, *(one["url"] for one in made)]:
        assert requests.get(page, timeout=30).status_code == 200, page
    for kind in ("job", "notebook"):
        area = "spark/job" if kind == "job" else "notebook"
        for one in overview[f"{kind}s"]:
            for path, key in ((f"{area}/export", f"{kind}_id"), (f"{area}/conf/export", f"{kind}_conf_id")):
                answer = client.get(client.workspace(path), params={key: one[f"{kind}_id"]})
                assert answer.status_code in {200, 404}, answer.text
    for path in ("clusters", "workspaces", client.workspace("spark/job/runs"), client.workspace("notebooks")):
        assert client.get(path).status_code == 200
    Store(mock.settings.state_directory / "state.db").close()  # another start could read it all


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        # Not shutdown_request, which ends a kernel as it should, nor what waits for an answer to `input()`.
        "msg_type": st.sampled_from(["execute_request", "complete_request", "comm_open", "nothing"]) | ODD,
        "msg_id": TEXT | ODD,
        "session": TEXT | ODD,
        "date": st.sampled_from(["2026-01-01 00:00:00", "2026-99-99T99:99:99Z"]) | ODD,
        "version": st.just("5.3") | ODD,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"header": st.one_of(HEADERS, HEADERS, HEADERS, ODD)},
    optional={
        "parent_header": HEADERS | ODD,
        "metadata": st.dictionaries(TEXT, ODD, max_size=2) | ODD,
        "content": st.dictionaries(st.sampled_from(["code", "data", "comm_id"]) | TEXT, ODD, max_size=2)
        | ODD,
        "channel": st.sampled_from(["shell", "control", "stdin", "iopub"]) | ODD,
        "buffers": ODD,
    },
)
FRAMES = st.one_of(
    *[MESSAGES.map(json.dumps)] * 3,
    ODD.map(json.dumps),
    TEXT,
    st.binary(max_size=20),
    st.sampled_from(["[" * 100_000, '{"header":' * 50_000]),
)


def test_no_frame_ends_the_connection_the_kernel_or_the_mock(client, notebook_run, anonymous, yeedu_mock):
    kernel = client.open_kernel(notebook_run)
    kernel.finish(kernel.send("pass"))

    @settings(STEADY, max_examples=40)
    @given(st.lists(FRAMES, min_size=1, max_size=4))
    def fuzz(frames):
        for frame in frames:
            opcode = websocket.ABNF.OPCODE_BINARY if isinstance(frame, bytes) else websocket.ABNF.OPCODE_TEXT
            kernel.socket.send(frame, opcode)
        request = kernel.send("print('still here')")
        kernel.finish(request)
        assert kernel.of(request, "execute_reply")[0]["status"] == "ok"

    fuzz()
    assert requests.get(yeedu_mock.health_url, timeout=30).status_code == 200
    assert client.status("notebook", notebook_run) == "RUNNING"
    answers = requests.get(f"{yeedu_mock.url}/_control/journal", timeout=30).json()
    assert not [answer for answer in answers if (answer["status"] or 0) >= 500]
