"""The facade on a real Prefect server, with the mock Yeedu."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mock_yeedu import MockYeedu
from prefect import flow, task
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.variables import Variable
from prefect_blocks import logs_of

from operators.yeedu import YeeduOperator
from prefect_yeedu import YeeduConfigurationError, YeeduPrefectUnavailable, YeeduResult, YeeduUnhealthy
from prefect_yeedu.flow_run.connection import (
    _load_variable,
    load_connection,
    load_details,
    load_password,
    load_token,
)

# Prefect's own clients leave sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _token(prefect_server: None, mock: MockYeedu) -> Iterator[None]:
    with mock.client("job/101") as client:
        Secret(value=client.token()).save("facade-token", overwrite=True)
        yield


def operator(url: str, **keywords: Any) -> YeeduOperator:
    given = {
        "connection_block_name": "yeedu_connection_details",
        "login_password_block_name": "yeedu_password",
        **keywords,
    }
    return YeeduOperator(job_url=url, **given)


def test_a_flow_gets_the_result_and_its_log_begins_with_the_run_link(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YEEDU_UI_URL", "http://localhost:8088")

    @flow
    def nightly() -> YeeduResult:
        return operator(mock.url("spark/job/101")).execute()

    state = nightly(return_state=True)
    result = state.result()
    assert result.state == "DONE"
    assert result.url.startswith("http://localhost:8088/tenant/")
    messages = logs_of(state)
    ours = [message for message in messages if "flow run" not in message.lower()]
    assert ours[0].startswith("Yeedu job run ")
    assert result.url in ours[0]
    assert messages.count("[stdout] Done.") == 1
    assert any(message.startswith("[stderr] ") for message in messages)
    assert mock.password not in "\n".join(messages)


@pytest.mark.parametrize("way", ["task", "submitted task", "own thread", "made in the flow"])
def test_the_run_log_is_found_from_everywhere(mock: MockYeedu, way: str) -> None:
    url = mock.url("spark/job/101")

    @task
    def in_task() -> str:
        return operator(url).execute().state

    @flow
    def caller() -> str:
        if way == "task":
            return in_task()
        if way == "submitted task":
            return in_task.submit().result()
        if way == "own thread":
            made = operator(url)
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(made.execute).result().state
        states: list[str] = []
        made = operator(url)
        thread = threading.Thread(target=lambda: states.append(made.execute().state))
        thread.start()
        thread.join()
        return states[0]

    state = caller(return_state=True)
    assert state.result() == "DONE"
    assert logs_of(state).count("[stdout] Done.") == 1


async def _in_async_flow(url: str) -> str:
    return (await operator(url).aexecute()).state


def test_an_async_flow_awaits_it(mock: MockYeedu) -> None:
    @flow
    async def caller() -> str:
        return await _in_async_flow(mock.url("spark/job/101"))

    assert asyncio.run(caller()) == "DONE"


def test_an_async_flow_awaits_the_published_method_while_its_loop_goes_on(mock: MockYeedu) -> None:
    @flow
    async def caller() -> tuple[str, int]:
        ticks = 0
        execution: Any = operator(mock.url("spark/job/101")).execute()
        waiting = asyncio.ensure_future(execution)
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return (await waiting).state, ticks

    state, ticks = asyncio.run(caller())
    assert state == "DONE"
    assert ticks > 5


def test_a_sync_flow_or_thread_below_an_event_loop_gets_the_result_itself(mock: MockYeedu) -> None:
    url = mock.url("spark/job/101")

    @flow
    def plain() -> str:
        return operator(url).execute().state

    @flow
    async def threaded() -> str:
        made = operator(url)
        return await asyncio.to_thread(lambda: made.execute().state)

    async def both() -> tuple[str, str]:
        return plain(), await threaded()

    assert asyncio.run(both()) == ("DONE", "DONE")


def test_a_token_needs_no_password(mock: MockYeedu) -> None:
    made = operator(
        mock.url("spark/notebook/201"), login_password_block_name=None, token_block_name="facade_token"
    )
    assert made.execute().state == "STOPPED"


@pytest.mark.parametrize("name", ["details_as_text", "details_variable", "details-variable"])
def test_connection_details_may_be_text_or_a_variable(mock: MockYeedu, name: str) -> None:
    Variable.set("details_variable", {"username": "demo"}, overwrite=True)
    assert operator(mock.url("spark/job/101"), connection_block_name=name).execute().state == "DONE"


def test_health_needs_no_block_and_fails_when_unhealthy(mock: MockYeedu) -> None:
    result = YeeduOperator(f"{mock.base}/healthCheck").execute()
    assert (result.kind, result.state) == ("health", "healthy")
    assert result.details["message"] == "OK"
    assert operator(f"{mock.base}/healthCheck", connection_block_name="absent").execute().state == "healthy"
    mock.control("POST", "faults", json={"path": "healthCheck", "status": 503, "times": None})
    try:
        with pytest.raises(YeeduUnhealthy, match="503"):
            YeeduOperator(f"{mock.base}/healthCheck").execute()
    finally:
        mock.control("DELETE", "faults")


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"connection_block_name": "absent_details"}, "no Secret block 'absent-details' and no Variable"),
        ({"login_password_block_name": "absent_password"}, "no Secret block 'absent-password'"),
        ({"login_password_block_name": None}, "Neither login_password_block_name nor token_block_name"),
        ({"login_password_block_name": "not_a_password"}, "'not-a-password' holds no text"),
        (
            {"login_password_block_name": "wrong_password"},
            r"refuses the user name 'demo' or its password \(.*\); correct 'username' in the connection "
            r"details 'yeedu_connection_details', or the password in the Secret block 'wrong-password'\.$",
        ),
        ({"connection_block_name": "yeedu_password"}, "not a JSON object"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    mock: MockYeedu, keywords: dict[str, Any], sentence: str
) -> None:
    from prefect_yeedu import YeeduError

    with pytest.raises(YeeduError, match=sentence) as caught:
        operator(mock.url("spark/job/101"), **keywords).execute()
    assert mock.password not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refused_login_names_the_settings_of_the_platform_where_they_are_its(mock: MockYeedu) -> None:
    credentials = load_connection("yeedu_connection_details", "yeedu_password").credentials
    assert credentials is not None
    assert credentials.login_kept_in.endswith(
        "block 'yeedu-password' (YEEDU_USERNAME and YEEDU_PASSWORD in the platform's .env)"
    )


@pytest.mark.parametrize("text", ["12345678", "0123", "true", "null", "1e5", '"quoted"', "[1]", " blanks "])
def test_a_password_and_a_token_are_taken_character_by_character(mock: MockYeedu, text: str) -> None:
    Secret(value=text).save("reads-as-json", overwrite=True)
    assert load_password("reads_as_json") == text
    assert load_token("reads_as_json") == text.strip()


def test_a_line_break_at_the_end_of_a_password_and_a_number_are_what_people_mean(mock: MockYeedu) -> None:
    Secret(value=" word \r\n").save("of-a-file", overwrite=True)
    Secret(value=12345678).save("of-a-number", overwrite=True)
    assert (load_password("of-a-file"), load_password("of-a-number")) == (" word ", "12345678")


def test_wrong_arguments_are_refused_before_anything_happens(mock: MockYeedu) -> None:
    url = mock.url("spark/job/101")
    with pytest.raises(YeeduConfigurationError, match="not a Yeedu URL"):
        operator("http://localhost:8088/")
    with pytest.raises(YeeduConfigurationError, match="key=value"):
        operator(url, conf=["x"])
    with pytest.raises(YeeduConfigurationError, match="more than 0 seconds"):
        operator(url, timeout_seconds=0)
    with pytest.raises(YeeduConfigurationError, match="one of v1, v1b, v2"):
        operator(url, generation="v9")


@pytest.mark.parametrize("read", [load_details, load_password, load_token, _load_variable])
def test_a_prefect_server_that_is_away_is_said_in_one_sentence(
    unused_port: int, read: Callable[[str], object]
) -> None:
    away = {PREFECT_API_URL: f"http://127.0.0.1:{unused_port}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(away), pytest.raises(YeeduPrefectUnavailable) as caught:
        read("some_name")
    assert "cannot be read from the Prefect server (ConnectError)" in str(caught.value)
