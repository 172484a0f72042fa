"""The flow fetch-api, against a real HTTP server."""

from collections.abc import Callable
from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from fetch_api import fetch_api, get_json

ReadLog = Callable[..., list[str]]


@pytest.fixture
def api(prefect_server: str, file_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(get_json, "retry_delay_seconds", [0.01] * 4)
    file_server.body = b'{"message": "OK", "n": 1}'
    file_server.url = f"http://127.0.0.1:{file_server.server_port}/v1/thing"
    return file_server


def test_the_json_is_the_result_and_an_artifact(api: Any, read_log: ReadLog) -> None:
    state = fetch_api(api.url, return_state=True)
    assert state.result() == {"message": "OK", "n": 1}
    assert f"31 characters of JSON from {api.url}" in read_log(state)
    with get_client(sync_client=True) as client:
        (artifact,) = client.read_artifacts(
            artifact_filter=ArtifactFilter.model_validate(
                {"flow_run_id": {"any_": [state.state_details.flow_run_id]}}
            )
        )
    assert '"message": "OK"' in str(artifact.data)


def test_the_kept_answer_is_taken_until_it_is_too_old(api: Any) -> None:
    for _ in range(3):
        assert fetch_api(api.url) == {"message": "OK", "n": 1}
    assert len(api.asked) == 1
    api.body = b'{"message": "new"}'
    assert fetch_api(api.url, keep_minutes=0) == {"message": "new"}
    assert len(api.asked) == 2


def test_trouble_is_waited_out_and_refusal_is_not(api: Any) -> None:
    api.statuses = [503, 429]
    assert fetch_api(api.url)["message"] == "OK"
    assert len(api.asked) == 3
    api.statuses = [403]
    state = fetch_api(f"{api.url}/other", return_state=True)
    assert f"{api.url}/other answers 403 Forbidden." in (state.message or "")
    assert len(api.asked) == 4


def test_headers_come_from_a_block_and_stay_out_of_the_log(api: Any, read_log: ReadLog) -> None:
    headers = {"Authorization": "Bearer planted-token"}
    Secret.model_validate({"value": headers}).save("api-headers", overwrite=True)
    state = fetch_api(api.url, headers_block_name="api_headers", return_state=True)
    assert state.is_completed(), state.message
    assert api.headers[-1]["Authorization"] == "Bearer planted-token"
    assert "planted-token" not in "\n".join(read_log(state))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"url": "not an address"}, "'not an address' is no http address."),
        ({"url": "http://127.0.0.1:1/"}, "http://127.0.0.1:1/ cannot be reached: ConnectionError."),
        ({"headers_block_name": "nothing"}, "There is no Secret block 'nothing'"),
        ({"headers_block_name": "odd"}, "The Secret block 'odd' has to hold JSON"),
    ],
)
def test_what_is_wrong_is_one_sentence(api: Any, arguments: dict[str, str], sentence: str) -> None:
    Secret.model_validate({"value": "planted-token"}).save("odd", overwrite=True)
    state = fetch_api(**{"url": f"{api.url}/wrong"} | arguments, return_state=True)  # type: ignore[arg-type]
    assert state.is_failed()
    assert sentence in (state.message or "")
    assert "planted-token" not in (state.message or "")
    assert "\n" not in (state.message or "")


def test_an_answer_that_is_not_json_is_told(api: Any) -> None:
    api.body = b"<html>"
    state = fetch_api(f"{api.url}/page", return_state=True)
    assert "answers with something that is not JSON" in (state.message or "")
