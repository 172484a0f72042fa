"""The three Yeedu flows, and the flow code of the published guide, against the mock Yeedu."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client

from check_yeedu_health import check_yeedu_health
from run_yeedu_job import run_yeedu_job_flow
from run_yeedu_notebook import run_yeedu_notebook_flow

ReadLog = Callable[..., list[str]]
FLOWS = Path(__file__).parents[1]
PASSWORD = "planted-password"
LOGIN = {"username": "demo", "password": PASSWORD}
TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"

# Section 4 of "Setting up Yeedu with Prefect", letter by letter as Yeedu publishes it, placeholders included.
PUBLISHED_GUIDE = Path(__file__).with_name("published_guide_flow.txt")


def test_a_jobs_output_is_in_the_log_and_its_run_is_the_result(
    address: Callable[[str], str], read_log: ReadLog
) -> None:
    state = run_yeedu_job_flow(address("job/101"), return_state=True)
    assert state.is_completed(), state.message
    result: dict[str, Any] = json.loads(json.dumps(state.result()))
    assert result["state"] == "DONE"
    assert f"/run/{result['run_id']}" in result["url"]
    log = "\n".join(read_log(state))
    assert "stdout" in log
    assert "stderr" in log
    assert PASSWORD not in log
    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(state.state_details.flow_run_id).name == "yeedu job 101"


def test_a_failing_job_fails_the_run_with_its_state(address: Callable[[str], str]) -> None:
    state = run_yeedu_job_flow(address("job/102"), return_state=True)
    assert state.is_failed()
    assert "ERROR" in (state.message or "")


def test_a_notebooks_outputs_are_in_the_log(address: Callable[[str], str], read_log: ReadLog) -> None:
    state = run_yeedu_notebook_flow(address("notebook/201"), return_state=True)
    assert state.is_completed(), state.message
    result: dict[str, Any] = json.loads(json.dumps(state.result()))
    assert result["cells"] == 3
    assert any("cell" in line.lower() for line in read_log(state))


def test_a_failing_cell_fails_the_run_with_its_index_and_error(address: Callable[[str], str]) -> None:
    state = run_yeedu_notebook_flow(address("notebook/202"), return_state=True)
    assert state.is_failed()
    assert "ZeroDivisionError" in (state.message or "")
    assert "cell 2" in (state.message or "").lower()


def test_a_healthy_yeedu_says_so(yeedu: str, read_log: ReadLog) -> None:
    state = check_yeedu_health(f"{yeedu}/healthCheck", return_state=True)
    assert state.is_completed(), state.message
    assert json.loads(json.dumps(state.result()))["message"] == "OK"
    assert "message: OK" in read_log(state)
    assert f"Yeedu at {yeedu} is healthy." in read_log(state)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"job_url": "not a url"}, "http"),
        ({"login_password_block_name": "no_such_block"}, "no-such-block"),
        ({"login_password_block_name": None}, "password"),
    ],
)
def test_wrong_parameters_fail_the_run_with_one_sentence(
    address: Callable[[str], str], arguments: dict[str, Any], word: str
) -> None:
    state = run_yeedu_job_flow(**{"job_url": address("job/101")} | arguments, return_state=True)
    assert state.is_failed()
    assert word in (state.message or "")
    assert "\n" not in (state.message or "")


@pytest.mark.parametrize("value", ["https://yeedu.example:8080/here", ""])
def test_addresses_default_to_the_environment_and_then_to_the_mock(
    run_python: Callable[..., Any], value: str
) -> None:
    code = """
from check_yeedu_health import check_yeedu_health as health
from run_yeedu_job import run_yeedu_job_flow as job
from run_yeedu_notebook import run_yeedu_notebook_flow as notebook
print(*(flow.fn.__defaults__[0] for flow in (job, notebook, health)))
"""
    variables = dict.fromkeys(("YEEDU_JOB_URL", "YEEDU_NOTEBOOK_URL", "YEEDU_HEALTH_URL"), value)
    output, _ = run_python("-c", code, PYTHONPATH=str(FLOWS), **variables).communicate(timeout=100)
    mock = "http://localhost:8088"
    workspace = f"{mock}/tenant/{TENANT}/workspace/1/spark"
    samples = [f"{workspace}/job/101", f"{workspace}/notebook/201", f"{mock}/healthCheck"]
    assert output.split() == ([value] * 3 if value else samples)


@pytest.mark.parametrize(
    ("connection", "password"),
    [("yeedu_connection_details", "yeedu_password"), ("details_with_a_token", "no_such_block")],
    ids=["password", "token"],
)
def test_the_published_guides_flow_runs_unchanged(
    address: Callable[[str], str],
    run_python: Callable[..., Any],
    tmp_path: Path,
    connection: str,
    password: str,
) -> None:
    token = requests.post(address("").partition("/tenant/")[0] + "/api/v1/login", json=LOGIN, timeout=90)
    Secret.model_validate({"value": token.json()["token"]}).save("token-of-demo", overwrite=True)
    details = {"YEEDU_VERIFY_SSL": "true", "YEEDU_SSL_CERT_FILE": "", "token_block_name": "token_of_demo"}
    Secret.model_validate({"value": details}).save("details-with-a-token", overwrite=True)
    code = PUBLISHED_GUIDE.read_text().replace("<YEEDU_JOB_URL>", address("job/101"))
    code = code.replace("<NAME_OF_CONNECTION_BLOCK_VARIABLE>", connection)
    code = code.replace("NAME_OF_PASSWORD_BLOCK_VARIABLE", password)
    (tmp_path / "published_guide.py").write_text(code)
    process = run_python("-c", "from published_guide import job_run_flow; job_run_flow()")
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "error stream" in output  # what the job writes
    assert "Finished in state Completed()" in output
    assert PASSWORD not in output
    assert token.json()["token"] not in output
