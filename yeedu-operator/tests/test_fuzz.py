"""Whatever Yeedu answers and a kernel sends, a call ends with a result or with an error of ours."""

from __future__ import annotations

import json
import threading
import uuid
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from addressed import execute
from fake_clock import FakeClock
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scripted_yeedu import PASSWORD, TENANT, TOKEN, Handler, ScriptedYeedu

from prefect_yeedu.errors import YeeduError
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.wait_options import WaitOptions
from prefect_yeedu.wire.redaction import storable

if TYPE_CHECKING:
    from collections.abc import Iterator

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

TEXTS = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\ud800",
        "\r\n",
        "日本",
        "9" * 5000,
        "-1",
        "²",
        "RUNNING",
        "DONE",
        "STOPPED",
        "error",
        TOKEN,
    ]
) | st.text(max_size=6)
NUMBERS = st.integers(-(2**70), 2**70) | st.sampled_from([0, 9, 1e308, -0.5, 10**400])
NAMES = st.sampled_from(
    [
        *("run_id", "run_status", "job_id", "job_status", "job_conf_id", "notebook_status", "data", "conf"),
        *(
            "token",
            "auth_type",
            "loginURL",
            "tenant_id",
            "cluster_id",
            "error",
            "error_code",
            "error_message",
        ),
        *(
            "kernel_info",
            "kernel_status",
            "cells",
            "notebook_cells",
            "source",
            "code",
            "cell_uuid",
            "outputs",
        ),
        *("cell_type", "spark_job_type", "language", "notebook_file_id", "execution_time_sec", "created_at"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)
BODIES = (
    st.dictionaries(NAMES, VALUES, max_size=6).map(json.dumps).map(str.encode)
    | VALUES.map(json.dumps).map(str.encode)
    | st.binary(max_size=20)
    | st.sampled_from([b"", b"<html>", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"\xef\xbb\xbf{}"])
)
STATUSES = st.sampled_from(
    [0, 200, 200, 200, 200, 201, 204, 206, 301, 400, 401, 403, 404, 409, 416, 418, 429, 440, 500, 503, 599]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Retry-After": st.sampled_from(["0", "-1", "1e400", "²", "Fri, 31 Dec 9999 23:59:59 GMT", "x"]),
        "Content-Type": st.sampled_from(["text/html", "application/json; charset=utf-16", "x; charset=no"]),
        "Content-Range": st.sampled_from(["bytes 5-1/3", "x"]),
        "Location": st.just("http://127.0.0.1:1/"),
    },
)
ANSWERS = st.lists(st.tuples(STATUSES, BODIES, HEADERS), min_size=1, max_size=3)

JOB_V2, JOB_V1, NOTEBOOK = "workspace/1/spark/job/run", "workspace/1/spark/job", "workspace/1/notebook/run"
DOCUMENT = {"cells": [{"source": "1", "cell_type": "code"}, {"source": "2", "cell_type": "code"}]}
WELL = {
    ("GET", "login/auth_type"): {"auth_type": "LDAP"},
    ("POST", "login"): {"token": TOKEN},
    ("POST", f"user/select/{TENANT}"): {},
    ("GET", "user/info"): {"tenant_id": TENANT},
    ("POST", "logout"): {},
    ("POST", JOB_V2): {"run_id": 9},
    ("GET", f"{JOB_V2}/9"): {"run_status": "DONE"},
    ("GET", f"{JOB_V2}/9/log/stdout"): b"out\n",
    ("GET", f"{JOB_V2}/9/log/stderr"): b"err\n",
    ("GET", f"{JOB_V2}/9/workflow/errors"): {"data": [{"error": "x"}]},
    ("GET", "workspace/1/spark/job/runs"): {"data": []},
    ("GET", "workspace/1/spark/job"): {"job_id": 5, "cluster_id": 1},
    ("PUT", "workspace/1/spark/job"): {},
    ("POST", JOB_V1): {"job_id": 9},
    ("GET", f"{JOB_V1}/9"): {"job_status": "DONE"},
    ("GET", f"{JOB_V1}/9/log/stdout"): b"out\n",
    ("GET", f"{JOB_V1}/9/log/stderr"): b"err\n",
    ("GET", "workspace/1/spark/jobs"): {"data": []},
    ("GET", "workspace/1/notebook"): {"notebook_id": 5},
    ("POST", NOTEBOOK): {"run_id": 9},
    ("GET", f"{NOTEBOOK}/9"): {"run_status": "RUNNING"},
    ("POST", f"{NOTEBOOK}/9/kernel/startOrGetStatus"): {"kernel_info": {"kernel_status": "idle"}},
    ("GET", f"{NOTEBOOK}/9/kernel/status"): {"kernel_info": {"kernel_status": "idle"}},
    ("GET", "workspace/1/notebook/5/run/9/download"): DOCUMENT,
    ("POST", "workspace/1/notebook/5/update"): {},
    ("POST", f"{NOTEBOOK}/kill/9"): {},
    ("GET", f"{NOTEBOOK}/9/workflow/errors"): {"data": []},
    ("GET", "workspace/1/notebook/runs"): {"data": []},
}
ODD_ROUTES = st.dictionaries(st.sampled_from(sorted(WELL)), ANSWERS, max_size=4)


@pytest.fixture(scope="module")
def odd_yeedu() -> Iterator[ScriptedYeedu]:
    scripted = ScriptedYeedu()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"yeedu": scripted}))
    server.daemon_threads = True
    server.block_on_close = False
    scripted.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield scripted
    server.shutdown()
    server.server_close()
    thread.join()


def call(yeedu: ScriptedYeedu, path: str, odd: dict[Any, Any], clock: FakeClock, **request: Any) -> None:
    """Make a call of a Yeedu that answers some routes oddly, and want a result or an error of ours."""
    for (method, route), answer in WELL.items():
        well = (201 if route.startswith(("user/select", f"{NOTEBOOK}/kill")) else 200, answer)
        yeedu.on(method, route, *odd.get((method, route), []), well)
    options = WaitOptions(timeout_seconds=600, outage_seconds=100, kernel_seconds=100)
    try:
        with yeedu.client(path, clock=clock) as client:
            execute(client, RunRequest(options=options, **request))
    except YeeduError as error:
        text = f"{error} {error!r}"
        assert TOKEN not in text
        assert PASSWORD not in text
        assert storable(text) == text


@pytest.mark.parametrize("path", ["spark/job/5", "spark/conf/5", "run/9/run-metrics"])
@FUZZ
@given(odd=ODD_ROUTES)
def test_a_job_ends_in_a_result_or_an_error_of_ours(odd_yeedu: ScriptedYeedu, path: str, odd: Any) -> None:
    call(odd_yeedu, path, odd, FakeClock())


@FUZZ
@given(odd=ODD_ROUTES)
def test_clusters_end_in_a_result_or_an_error_of_ours(odd_yeedu: ScriptedYeedu, odd: Any) -> None:
    failing = {("GET", f"{JOB_V2}/9"): [(200, {"run_status": "ERROR"})]}
    call(odd_yeedu, "spark/job/5", failing | odd, FakeClock(), cluster_ids=(2, 3))


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "msg_type": st.sampled_from(
            ["status", "execute_input", "stream", "display_data", "execute_result", "error", "execute_reply"]
        )
        | VALUES,
        "parent_header": st.just({"msg_id": "the latest"}) | VALUES,
        "content": st.dictionaries(
            st.sampled_from(
                ["execution_state", "status", "text", "data", "execution_count", "ename", "evalue"]
            ),
            st.sampled_from(["idle", "ok", "aborted", "error", "dead", 1]) | VALUES,
        )
        | VALUES,
    },
)
FRAMES = MESSAGES.map(json.dumps) | VALUES.map(json.dumps) | st.sampled_from(["", "{", "[" * 100_000])


class OddChannel:
    """Sends odd frames in between, and then what a kernel would."""

    def __init__(self, clock: FakeClock, frames: list[str]) -> None:
        self.clock = clock
        self.frames = frames
        self.waiting: list[str] = []

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def send(self, text: str) -> None:
        parent = {"msg_id": json.loads(text)["header"]["msg_id"]}
        self.waiting += [frame.replace("the latest", parent["msg_id"]) for frame in self.frames[:3]]
        del self.frames[:3]
        for kind, content in (
            ("execute_reply", {"status": "ok", "execution_count": 1}),
            ("status", {"execution_state": "idle"}),
        ):
            frame = {
                "msg_type": kind,
                "parent_header": parent,
                "content": content,
                "msg_id": str(uuid.uuid4()),
            }
            self.waiting.append(json.dumps(frame))

    def receive(self, timeout_seconds: float) -> str | None:
        if not self.waiting:
            self.clock.sleep(timeout_seconds)
            return None
        return self.waiting.pop(0)


@FUZZ
@given(odd=ODD_ROUTES, frames=st.lists(FRAMES, max_size=8))
@example(odd={}, frames=['{"msg_type": "status", "content": {"execution_state": []}}'])
def test_a_notebook_ends_in_a_result_or_an_error_of_ours(
    odd_yeedu: ScriptedYeedu, odd: Any, frames: list[str]
) -> None:
    clock = FakeClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "prefect_yeedu.runs.kernel_connection.KernelChannel", lambda *_: OddChannel(clock, list(frames))
        )
        call(odd_yeedu, "spark/notebook/5", odd, clock)
