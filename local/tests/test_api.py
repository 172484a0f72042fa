"""Waiting for the first Yeedu run, against a server that answers as Prefect's does."""

import base64
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from local.api import FlowRun, PrefectApi, await_first_run
from local.errors import CommandError
from local.loopback import is_answering

JOB = {"id": "d1", "name": "run-yeedu-job", "paused": False, "schedules": [{"active": True}]}
OTHER = {"id": "d2", "name": "print-message", "paused": False, "schedules": [{"active": True}]}


def run(identity: str, deployment: str, state: str, message: str | None = None) -> dict[str, Any]:
    name = state.title()
    return {
        "id": identity,
        "name": f"run-{identity}",
        "deployment_id": deployment,
        "state_type": state,
        "state_name": name,
        "state": {"type": state, "name": name, "message": message, "timestamp": "2026-01-02T03:04:05Z"},
    }


class FakeServer(ThreadingHTTPServer):
    """Answers each question for flow runs with the next of the given answers, the last one for ever."""

    def __init__(self, deployments: list[dict[str, Any]], answers: list[Any]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.deployments, self.answers = deployments, answers
        self.login = ""
        self.questions: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"


class Handler(BaseHTTPRequestHandler):
    @property
    def fake(self) -> FakeServer:
        assert isinstance(self.server, FakeServer)
        return self.server

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        expected = "Basic " + base64.b64encode(self.fake.login.encode()).decode()
        if self.fake.login and self.headers["Authorization"] != expected:
            self._answer(401, {})
        elif self.path == "/api/deployments/filter":
            self._answer(200, self.fake.deployments)
        else:
            assert self.path == "/api/flow_runs/filter"
            self.fake.questions.append(question)
            answers = self.fake.answers
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self._answer(answer if isinstance(answer, int) else 200, answer)

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/api/ready" else 503, {})

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextmanager
def serving(deployments: list[dict[str, Any]], *answers: Any) -> Generator[FakeServer]:
    with FakeServer(deployments, list(answers)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_waits_until_the_first_run_is_over_and_reports_each_state_once() -> None:
    reported: list[str] = []

    def report(flow_run: FlowRun) -> None:
        reported.append(f"{flow_run.deployment} {flow_run.state_name}")

    answers: tuple[list[dict[str, Any]], ...] = (
        [],
        [run("1", "d1", "SCHEDULED"), run("2", "d2", "PENDING")],
        [run("1", "d1", "RUNNING"), run("2", "d2", "COMPLETED")],
        [run("1", "d1", "RUNNING"), run("2", "d2", "COMPLETED")],
        [run("1", "d1", "FAILED", "exit code 3"), run("2", "d2", "COMPLETED")],
    )
    with serving([JOB, OTHER], *answers) as server:
        first = await_first_run(PrefectApi(server.url), 60, report)
    assert first
    assert (first.id, first.state_type, first.message) == ("1", "FAILED", "exit code 3")
    assert reported == ["print-message Completed", "run-yeedu-job Running", "run-yeedu-job Failed"]


def test_asks_for_runs_that_are_due_with_the_latest_first() -> None:
    with serving([JOB], [run("1", "d1", "COMPLETED")]) as server:
        await_first_run(PrefectApi(server.url), 60, lambda _: None)
        question = server.questions[0]
    assert question["sort"] == "EXPECTED_START_TIME_DESC"
    assert question["flow_runs"]["deployment_id"] == {"any_": ["d1"]}
    assert "before_" in question["flow_runs"]["expected_start_time"]


def test_what_was_over_before_is_not_reported_again() -> None:
    reported: list[FlowRun] = []
    with serving([JOB], [run("1", "d1", "COMPLETED")]) as server:
        first = await_first_run(PrefectApi(server.url), 60, reported.append)
    assert first
    assert first.is_final
    assert reported == []


@pytest.mark.parametrize(
    "deployments", [[OTHER], [{**JOB, "paused": True}], [{**JOB, "schedules": [{"active": False}]}]]
)
def test_nothing_is_waited_for_where_no_run_will_come(deployments: list[dict[str, Any]]) -> None:
    with serving(deployments, []) as server:
        assert await_first_run(PrefectApi(server.url), 60, lambda _: None) is None


def test_answer_that_fails_for_a_moment_is_asked_for_again() -> None:
    with serving([JOB], 503, [run("1", "d1", "COMPLETED")]) as server:
        assert await_first_run(PrefectApi(server.url), 60, lambda _: None)


def test_run_that_does_not_end_in_time_is_named_with_its_state() -> None:
    with (
        serving([JOB], [run("1", "d1", "RUNNING")]) as server,
        pytest.raises(CommandError, match=r"run-yeedu-job: run-1 is still Running after 0 s"),
    ):
        await_first_run(PrefectApi(server.url), 0.2, lambda _: None)


def test_server_that_is_gone_is_named() -> None:
    with serving([JOB], []) as server:
        pass
    with pytest.raises(CommandError, match="the server stopped answering"):
        await_first_run(PrefectApi(server.url), 0.2, lambda _: None)


def test_login_is_sent_and_a_wrong_one_is_named_without_it() -> None:
    with serving([JOB], [run("1", "d1", "COMPLETED")]) as server:
        server.login = "me:right"
        assert await_first_run(PrefectApi(server.url, "me:right"), 60, lambda _: None)
        with pytest.raises(CommandError, match="rejects the login") as caught:
            await_first_run(PrefectApi(server.url, "me:wrong"), 60, lambda _: None)
    assert "wrong" not in str(caught.value)


def test_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving([JOB], []) as server:
        assert is_answering(f"{server.url}/ready")
        assert not is_answering(f"{server.url}/other")
    assert not is_answering(f"{server.url}/ready")
