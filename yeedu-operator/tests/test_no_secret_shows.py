"""A password, a token and a cookie, planted wherever Yeedu could send them back, show up nowhere."""

import json
import logging
import traceback
from collections.abc import Callable
from typing import Any, cast

import pytest
from prefect import flow, task
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from scripted_yeedu import PASSWORD, TENANT, TOKEN, ScriptedYeedu

from operators.yeedu import YeeduOperator
from prefect_yeedu import YeeduCredentials, YeeduJob, retry_policy
from prefect_yeedu.errors import YeeduError
from prefect_yeedu.runs import submission

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

COOKIE = "crumb-" + "s3cr3t-of-the-browser"
HEADERS = {"Set-Cookie": f"session={COOKIE}; Path=/; HttpOnly"}
ECHO = f"Bearer {TOKEN} of demo:{PASSWORD} with session={COOKIE}"
JOB, NOTEBOOK = "workspace/1/spark/job", "workspace/1/notebook"
FILTERS = ("flow_runs", "task_runs", "logs", "artifacts", "block_documents")

Plant = Callable[[ScriptedYeedu], None]


def answers(yeedu: ScriptedYeedu) -> None:
    """A Yeedu where all goes well, and each answer sets the cookie."""
    for method, path, status, body in (
        ("GET", "login/auth_type", 200, {"auth_type": "LDAP"}),
        ("POST", "login", 200, {"token": TOKEN}),
        ("POST", f"user/select/{TENANT}", 201, {}),
        ("GET", "user/info", 200, {"tenant_id": TENANT}),
        ("POST", "logout", 200, {}),
        ("POST", f"{JOB}/run", 200, {"run_id": 9}),
        ("GET", f"{JOB}/run/9", 200, {"run_status": "DONE"}),
        ("GET", f"{JOB}/run/9/log/stdout", 200, b"out\n"),
        ("GET", f"{JOB}/run/9/log/stderr", 200, b"err\n"),
        ("GET", f"{JOB}/run/9/workflow/errors", 200, {"data": [{"error": ECHO}]}),
        ("GET", f"{JOB}/runs", 200, {"data": []}),
        ("GET", NOTEBOOK, 200, {"notebook_id": 5}),
        ("GET", f"{NOTEBOOK}/5/download", 200, {"cells": [{"source": "1", "cell_type": "code"}]}),
        ("POST", f"{NOTEBOOK}/run", 200, {"run_id": 9}),
        ("GET", f"{NOTEBOOK}/run/9", 200, {"run_status": "RUNNING"}),
        ("GET", f"{NOTEBOOK}/5/run/9/download", 200, {"cells": [{"source": "1", "cell_type": "code"}]}),
        ("POST", f"{NOTEBOOK}/run/9/kernel/startOrGetStatus", 500, {"error_message": ECHO}),
        ("POST", f"{NOTEBOOK}/run/kill/9", 201, {}),
        ("GET", f"{NOTEBOOK}/run/9/workflow/errors", 200, {"data": [{"error": ECHO}]}),
    ):
        yeedu.on(method, path, (status, body, HEADERS))


def answer(method: str, path: str, status: int, headers: dict[str, str] | None = None) -> Plant:
    """Have one route answer with all the secrets in it."""
    body = {"error_code": "RFA-000", "error_message": ECHO}
    return lambda yeedu: yeedu.on(method, path, (status, body, {**HEADERS, **(headers or {})}))


def forget_password(yeedu: ScriptedYeedu) -> None:
    """Leave the password out of the answers: whoever has a token only does not know what to hide."""
    for known in yeedu.routes.values():
        for index, (status, body, *headers) in enumerate(cast("list[Any]", known)):
            text = body.decode() if isinstance(body, bytes) else json.dumps(body)
            text = text.replace(PASSWORD, "")
            known[index] = (status, text.encode() if isinstance(body, bytes) else json.loads(text), *headers)


def ended(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", f"{JOB}/run/9", (200, {"run_status": "ERROR", "message": ECHO}, HEADERS))


def not_json(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", f"{JOB}/run", (200, f"<html>{ECHO}</html>".encode(), HEADERS))


CASES: dict[str, tuple[str, Plant]] = {
    "job that succeeds": ("spark/job/5", lambda _: None),
    "job that fails": ("spark/job/5", ended),
    "login that is refused": ("spark/job/5", answer("POST", "login", 401)),
    "tenant that is refused": ("spark/job/5", answer("POST", f"user/select/{TENANT}", 403)),
    "job that is refused": ("spark/job/5", answer("POST", f"{JOB}/run", 422)),
    "server that fails": ("spark/job/5", answer("POST", f"{JOB}/run", 500)),
    "answer that is not JSON": ("spark/job/5", not_json),
    "session that expires for good": ("spark/job/5", answer("GET", f"{JOB}/run/9", 401)),
    "redirect that carries the token": (
        "spark/job/5",
        answer("GET", f"{JOB}/run/9", 302, {"Location": f"/elsewhere?token={TOKEN}"}),
    ),
    "kernel that does not start": ("spark/notebook/5", lambda _: None),
}


def places_of_the_server() -> dict[str, str]:
    """Return what the Prefect server answers about all that it holds."""
    with get_client(sync_client=True) as client:
        found = {name: client._client.post(f"/{name}/filter", json={"limit": 200}) for name in FILTERS}
    assert all(response.is_success for response in found.values()), found
    return {f"{PREFECT_API_URL.value()}/{name}": response.text for name, response in found.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "way", ["password", *(pytest.param(way, marks=pytest.mark.long) for way in ("token", "block"))]
)
def test_no_secret_shows(
    yeedu: ScriptedYeedu, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    for name in ("MIN_SEARCH_SECONDS", "ANSWERED_SEARCH_SECONDS"):
        monkeypatch.setattr(submission, name, 0.1)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_YEEDU_SUBMIT_SECONDS", "5")
    monkeypatch.setattr(retry_policy.Trial, "_wait_seconds", lambda *_: 0.01)
    details = {"username": "demo", "YEEDU_VERIFY_SSL": "false", "YEEDU_SSL_CERT_FILE": ""}
    Secret(value=details).save("hidden-details", overwrite=True)
    Secret(value=PASSWORD).save("hidden-password", overwrite=True)
    Secret(value=TOKEN).save("hidden-token", overwrite=True)
    places: dict[str, str] = {}

    @task(persist_result=False)
    def run(path: str) -> Any:
        if way == "block":
            who = YeeduCredentials.model_validate({"username": "demo", "password": PASSWORD})
            job = YeeduJob(credentials=who, job_url=yeedu.url(path))
            places["repr of the block"] = f"{job!r} {job} {who!r} {who.model_dump_json()}"
            started = job.trigger()
            started.wait_for_completion()
            return started.fetch_result()
        names = {"password": "hidden-password"} if way == "password" else {"token": "hidden-token"}
        operator = YeeduOperator(
            yeedu.url(path),
            "hidden-details",
            login_password_block_name=names.get("password"),
            token_block_name=names.get("token"),
            timeout_seconds=10,
        )
        places["repr of the operator"] = f"{operator!r} {operator.__dict__}"
        return operator.execute()

    @flow
    def caller(path: str) -> Any:
        return run(path)

    outcomes: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for name, (path, plant) in CASES.items():
            if way == "block" and "notebook" in path:
                continue
            answers(yeedu)
            plant(yeedu)
            if way == "token":
                forget_password(yeedu)
            state = caller(path, return_state=True)
            outcome = state.result(raise_on_failure=False)
            outcomes.append(state.name or "")
            places[f"outcome of a {name}"] = f"{outcome!r} {outcome} {state!r} {state.message}"
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, YeeduError), outcome
                places[f"traceback of a {name}"] = "".join(traceback.format_exception(outcome))
    assert outcomes[0] == "Completed"
    assert "Failed" in outcomes
    sent = json.dumps([call.headers for call in yeedu.calls])
    assert TOKEN in sent, "the hunt is for what was used"
    places["logs of all libraries"] = caplog.text
    for place, text in {**places, **places_of_the_server()}.items():
        for secret in (PASSWORD, TOKEN, COOKIE):
            assert secret not in text, f"{secret} is in {place}: {text[text.index(secret) - 200 :][:400]}"
