import logging
import pickle
import threading
import time
from typing import Any

import pytest
from addressed import AddressedClient
from scripted_yeedu import PASSWORD, TENANT, TOKEN, ScriptedYeedu

from prefect_yeedu import errors
from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.transport import Timeouts
from prefect_yeedu.errors import (
    YeeduAuthenticationError,
    YeeduConfigurationError,
    YeeduError,
    YeeduNotFound,
    YeeduRateLimited,
    YeeduServerError,
    YeeduTransportError,
    YeeduUnexpectedAnswer,
    YeeduUnhealthy,
)
from prefect_yeedu.models import RunState
from prefect_yeedu.retry_policy import RetryPolicy

RUN = "workspace/1/spark/job/run/9"
SUBMIT = "workspace/1/spark/job/run"


def job_api(client: AddressedClient) -> RunAPI:
    return client.api()


def test_a_session_logs_in_selects_the_tenant_and_logs_out(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", RUN, (200, {"run_status": "RUNNING"}))
    with yeedu.client() as client:
        assert job_api(client).read(9).state is RunState.RUNNING
    assert [(call.method, call.path) for call in yeedu.calls] == [
        ("GET", "login/auth_type"),
        ("POST", "login"),
        ("POST", f"user/select/{TENANT}"),
        ("GET", RUN),
        ("POST", "logout"),
    ]
    assert yeedu.calls[1].body == {
        "username": "demo",
        "password": PASSWORD,
        "auth_type": "LDAP",
        "timeout": "24h",
    }
    assert yeedu.calls[3].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_given_token_is_used_without_login_and_stays_valid(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", RUN, (200, {"run_status": "DONE"}))
    with yeedu.client(credentials=Credentials(token="personal-token")) as client:
        job_api(client).read(9)
    assert [call.path for call in yeedu.calls] == [f"user/select/{TENANT}", RUN]
    assert yeedu.calls[1].headers["authorization"] == "Bearer personal-token"


def test_each_client_keeps_its_own_token(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", RUN, (200, {"run_status": "DONE"}))
    first, second = (yeedu.client(credentials=Credentials(token=f"token-of-{who}")) for who in "ab")
    with first, second:
        for client in (first, second, first):
            job_api(client).read(9)
    used = [call.headers["authorization"] for call in yeedu.called("GET", RUN)]
    assert used == ["Bearer token-of-a", "Bearer token-of-b", "Bearer token-of-a"]


@pytest.mark.parametrize("status", [409, 403])
def test_a_tenant_that_is_already_selected_is_fine(yeedu: ScriptedYeedu, status: int) -> None:
    text = f"Association to the tenant Id: {TENANT} is not allowed for the current session."
    yeedu.on("POST", f"user/select/{TENANT}", (status, {"error_message": text}))
    yeedu.on("GET", "user/info", (200, {"username": "demo", "tenant_id": TENANT}))
    with yeedu.client() as client:
        assert client.token() == TOKEN


def test_a_token_of_another_tenant_is_refused(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", f"user/select/{TENANT}", (409, {}))
    yeedu.on("GET", "user/info", (200, {"tenant_id": "another"}))
    with (
        yeedu.client() as client,
        pytest.raises(YeeduConfigurationError, match="belongs to the tenant another"),
    ):
        client.token()


def test_single_sign_on_without_a_token_says_what_to_do(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", "login/auth_type", (200, {"auth_type": "AZURE_SSO"}))
    yeedu.on("POST", "login", (200, {"loginURL": "https://sso.example/start"}))
    with (
        yeedu.client() as client,
        pytest.raises(YeeduConfigurationError, match=r"https://sso\.example/start"),
    ):
        client.token()


def test_an_old_server_without_auth_type_gets_the_old_login(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", "login/auth_type", (404, {}))
    with yeedu.client() as client:
        client.token()
    assert yeedu.called("POST", "login")[0].body == {"username": "demo", "password": PASSWORD}


def test_a_wrong_password_is_said_in_one_sentence_and_not_retried(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", "login", (401, {"error_message": f"wrong password {PASSWORD}"}))
    with yeedu.client() as client, pytest.raises(YeeduAuthenticationError) as caught:
        client.token()
    assert "refuses the user name 'demo' or its password" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert len(yeedu.called("POST", "login")) == 1


@pytest.mark.parametrize(
    "expired", [(401, {"error_code": "RFA-000001"}), (440, {}), (400, {"error_code": "RFA-000001"})]
)
def test_an_expired_session_logs_in_again_once(yeedu: ScriptedYeedu, expired: Any) -> None:
    yeedu.on("POST", "login", (200, {"token": TOKEN}), (200, {"token": "second-token"}))
    yeedu.on("GET", RUN, expired, (200, {"run_status": "DONE"}))
    with yeedu.client() as client:
        assert job_api(client).read(9).state is RunState.DONE
    assert yeedu.called("GET", RUN)[1].headers["authorization"] == "Bearer second-token"


def test_a_session_refused_again_after_a_new_login_is_an_error(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", RUN, (401, {}))
    yeedu.on("POST", "login", (200, {"token": TOKEN}), (200, {"token": "second-token"}))
    with yeedu.client() as client, pytest.raises(YeeduAuthenticationError):
        job_api(client).read(9)
    assert len(yeedu.called("POST", "login")) == 2


def test_an_expired_token_that_was_given_asks_for_a_new_one(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", RUN, (401, {}))
    with (
        yeedu.client(credentials=Credentials(token="personal-token")) as client,
        pytest.raises(YeeduAuthenticationError, match="a new one, and store it in the credentials"),
    ):
        job_api(client).read(9)


def test_threads_share_one_new_login(yeedu: ScriptedYeedu) -> None:
    tokens = iter(f"token-{number}" for number in range(100))
    yeedu.on("POST", "login", lambda call: (200, {"token": next(tokens)}))
    yeedu.on(
        "GET",
        RUN,
        lambda call: (
            (200, {"run_status": "DONE"}) if call.headers["authorization"] == "Bearer token-1" else (401, {})
        ),
    )
    states: list[RunState] = []
    with yeedu.client() as client:
        client.log_in()
        threads = [
            threading.Thread(target=lambda: states.append(job_api(client).read(9).state)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert states == [RunState.DONE] * 8
    assert len(yeedu.called("POST", "login")) == 2


@pytest.mark.parametrize("failure", [(500, {}), (503, b"<html>"), (429, {}), (0, {}), (200, b"not json")])
def test_reading_is_repeated_but_not_for_ever(yeedu: ScriptedYeedu, failure: Any) -> None:
    yeedu.on("GET", RUN, failure, failure, (200, {"run_status": "DONE"}))
    with yeedu.client() as client:
        assert job_api(client).read(9).state is RunState.DONE
        yeedu.on("GET", RUN, failure)
        with pytest.raises((YeeduServerError, YeeduRateLimited, YeeduTransportError, YeeduUnexpectedAnswer)):
            job_api(client).read(9)
    assert len(yeedu.called("GET", RUN)) == 6


@pytest.mark.parametrize("failure", [(500, {}), (503, {}), (0, {})])
def test_a_submission_that_may_have_been_accepted_is_not_repeated(yeedu: ScriptedYeedu, failure: Any) -> None:
    yeedu.on("POST", SUBMIT, failure)
    with yeedu.client() as client, pytest.raises((YeeduServerError, YeeduTransportError)):
        job_api(client).submit(5)
    assert len(yeedu.called("POST", SUBMIT)) == 1


def test_a_submission_that_was_turned_away_is_repeated(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", SUBMIT, (429, {}, {"Retry-After": "0"}), (200, {"run_id": 9}))
    with yeedu.client() as client:
        assert job_api(client).submit(5) == 9


def test_retry_after_is_waited_for(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", RUN, (503, {}, {"Retry-After": "1"}), (200, {"run_status": "DONE"}))
    with yeedu.client() as client:
        client.log_in()
        started_at = time.monotonic()
        job_api(client).read(9)
    assert time.monotonic() - started_at >= 1.0


def test_a_server_that_hangs_is_given_up_after_the_time_limit(yeedu: ScriptedYeedu) -> None:
    release = threading.Event()

    def hang(call: Any) -> Any:
        release.wait(20)
        return 200, {}

    yeedu.on("GET", RUN, hang)
    client = AddressedClient(
        yeedu.url(),
        Credentials(token="personal-token"),
        timeouts=Timeouts(1.0, 0.2),
        retries=RetryPolicy(attempts=2, first_wait_seconds=0.01),
    )
    with client, pytest.raises(YeeduTransportError, match=r"did not answer within 0\.2 seconds"):
        job_api(client).read(9)
    release.set()


def test_an_unreachable_host_is_named(unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}/tenant/{TENANT}/workspace/1/job/5"
    client = AddressedClient(
        url,
        Credentials("demo", PASSWORD),
        retries=RetryPolicy(attempts=2, first_wait_seconds=0.01),
    )
    with (
        client,
        pytest.raises(YeeduTransportError, match=f"127.0.0.1:{unused_port} cannot be reached") as caught,
    ):
        client.token()
    assert not caught.value.was_sent
    assert "8080" not in str(caught.value)


def test_a_port_that_was_assumed_is_told() -> None:
    url = f"https://127.0.0.7/tenant/{TENANT}/workspace/1/job/5"  # of this machine; nothing listens there
    client = AddressedClient(url, Credentials("demo", PASSWORD), retries=RetryPolicy(attempts=1))
    with client, pytest.raises(YeeduTransportError, match=r"the port \(8080 where an address names none\)"):
        client.token()


def test_https_where_http_is_spoken_is_named(yeedu: ScriptedYeedu) -> None:
    url = yeedu.url().replace("http://", "https://")
    with (
        AddressedClient(url, Credentials("demo", PASSWORD)) as client,
        pytest.raises(YeeduConfigurationError, match="does not speak TLS at this port; write http://"),
    ):
        client.log_in()


def test_a_redirect_is_an_error_that_does_not_carry_the_token_away(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", RUN, (302, {}, {"Location": f"http://127.0.0.1:{yeedu.port}/elsewhere"}))
    with yeedu.client() as client, pytest.raises(YeeduError, match="redirect"):
        job_api(client).read(9)
    assert not yeedu.called("GET", "elsewhere")
    assert not yeedu.called("GET", "/elsewhere")


def test_an_unknown_job_is_named_with_its_workspace(yeedu: ScriptedYeedu) -> None:
    with yeedu.client() as client, pytest.raises(YeeduNotFound, match="There is no job 5 in workspace 1"):
        job_api(client).submit(5)


def test_an_unknown_state_is_not_an_error(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", RUN, (200, {"run_status": "HIBERNATING"}), (200, {"run_status": 7}), (200, {}))
    with yeedu.client() as client:
        for _ in range(3):
            state = job_api(client).read(9).state
            assert state is RunState.UNKNOWN
            assert not state.is_terminal


@pytest.mark.parametrize(
    "answer", [(503, {"message": "no database"}), (500, b"oops"), (404, {}), (200, b"x")]
)
def test_an_unhealthy_yeedu_fails_the_health_check(yeedu: ScriptedYeedu, answer: Any) -> None:
    yeedu.on("GET", "healthCheck", answer)
    with yeedu.client() as client, pytest.raises(YeeduUnhealthy):
        client.check_health()


def test_secrets_stay_out_of_debug_logs_and_errors(
    yeedu: ScriptedYeedu, caplog: pytest.LogCaptureFixture
) -> None:
    echo = f"token {TOKEN} of {PASSWORD}, Bearer {TOKEN}"
    yeedu.on("GET", RUN, (418, {"error_message": echo}))
    with caplog.at_level(logging.DEBUG), yeedu.client() as client, pytest.raises(YeeduError) as caught:
        job_api(client).read(9)
    for text in (caplog.text, str(caught.value), repr(caught.value), repr(client.__dict__)):
        assert TOKEN not in text
        assert PASSWORD not in text
    assert PASSWORD not in repr(Credentials("demo", PASSWORD))


def test_netrc_does_not_replace_the_token(
    yeedu: ScriptedYeedu, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    yeedu.on("GET", RUN, (200, {"run_status": "DONE"}))
    with yeedu.client() as client:
        job_api(client).read(9)
    assert "authorization" not in yeedu.called("POST", "login")[0].headers
    assert yeedu.called("GET", RUN)[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_every_error_survives_pickling() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, YeeduError)
    ]
    assert len(kinds) > 15
    for kind in kinds:
        error = kind("what happened")
        error.extra = "context"  # pyright: ignore[reportAttributeAccessIssue]
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is kind
        assert str(copy) == "what happened"
        assert copy.__dict__ == error.__dict__
