"""A Yeedu with single sign-on: tokens in blocks that the call or the connection details name."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from mock_yeedu import MockYeedu, running_mock
from prefect import flow
from prefect.blocks.system import Secret
from prefect_blocks import logs_of

from operators.yeedu import YeeduOperator
from prefect_yeedu import YeeduConfigurationError, YeeduCredentials, YeeduError, YeeduJob
from prefect_yeedu.errors import YeeduAuthenticationError

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def sso(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Iterator[MockYeedu]:
    """A mock that sends users elsewhere to log in; the details `sso-details` name the block of a token."""
    with running_mock(tmp_path_factory.mktemp("sso"), auth_type="AZURE_SSO") as running:
        details = {"username": "demo", "YEEDU_VERIFY_SSL": "true", "YEEDU_SSL_CERT_FILE": ""}
        Secret(value=new_token(running)).save("sso-token", overwrite=True)
        Secret(value={**details, "token_block_name": "sso_token"}).save("sso-details", overwrite=True)
        Secret(value={**details, "token_block_name": "yeedu_token"}).save("sso-no-token", overwrite=True)
        Secret(value={**details, "token_block_name": ["sso"]}).save("sso-odd-name", overwrite=True)
        Secret(value="not-a-token").save("sso-old-token", overwrite=True)
        yield running


def new_token(mock: MockYeedu) -> str:
    """Log in as a user does in the browser, and copy the token from the page."""
    form = {"username": "demo", "password": mock.password}
    page = requests.post(f"{mock.base}/api/v1/login", json={"auth_type": "AZURE_SSO"}, timeout=30).json()
    shown = requests.post(page["loginURL"], data=form, timeout=30)
    token = re.search(r"eyJ[\w.-]+", shown.text)
    assert token, shown.text
    return token[0]


def run(mock: MockYeedu, **names: str | None) -> str:
    given: dict[str, Any] = {
        "connection_block_name": "sso_details",
        "login_password_block_name": "absent_password",
        **names,
    }
    return YeeduOperator(mock.url("spark/job/101"), **given).execute().state


def test_the_token_that_the_details_name_goes_before_the_password_and_that_is_said(sso: MockYeedu) -> None:
    @flow
    def as_in_the_guide() -> str:
        return run(sso)

    state = as_in_the_guide(return_state=True)
    assert state.result() == "DONE"
    told = "Logging in to Yeedu with the token in the block 'sso-token', not with a password."
    assert logs_of(state).count(told) == 1


def test_the_calls_own_token_goes_before_the_one_of_the_details(sso: MockYeedu) -> None:
    assert run(sso, connection_block_name="sso_no_token", token_block_name="sso_token") == "DONE"
    with pytest.raises(YeeduAuthenticationError, match="'sso-old-token'"):
        run(sso, token_block_name="sso_old_token")


def test_without_a_token_again_the_password_logs_in(mock: MockYeedu) -> None:
    """The same blocks as with a token, whose name is out of the details."""
    Secret(value={"username": "demo"}).save("details-after-sso", overwrite=True)
    assert run(mock, connection_block_name="details_after_sso", login_password_block_name="yeedu_password")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            {
                "connection_block_name": "yeedu_connection_details",
                "login_password_block_name": "yeedu_password",
            },
            "uses single sign-on: open {mock}/sso, and store the token it shows in a Secret block whose name "
            "you give as token_block_name, or write under that key into the connection details' JSON",
        ),
        (
            {"token_block_name": "sso_old_token"},
            "(it has expired, was revoked, or is incomplete): open {mock}/sso for a new one, and store it in "
            "the Secret block 'sso-old-token'.",
        ),
        (
            {"connection_block_name": "sso_no_token"},
            "no Secret block 'yeedu-token' on the Prefect server; create it with a token (Yeedu shows one "
            "after single sign-on, or makes one: POST /api/v1/user/token) as value, or set YEEDU_TOKEN",
        ),
        ({"connection_block_name": "sso_odd_name"}, "'token_block_name' in the connection details"),
        # As the published guide has it, which gives the token's block under the name of another one.
        (
            {"connection_block_name": "sso_token", "login_password_block_name": None},
            "the block of a token is to be given as token_block_name",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_sentence_with_the_way_out(
    sso: MockYeedu, names: dict[str, str | None], sentence: str
) -> None:
    with pytest.raises(YeeduError) as caught:
        run(sso, **names)
    assert sentence.format(mock=sso.base) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "eyJ" not in str(caught.value)
    assert sso.password not in str(caught.value)


def test_a_token_that_is_revoked_later_is_refused_with_the_same_sentence(sso: MockYeedu) -> None:
    token = new_token(sso)
    Secret(value=token).save("sso-revoked", overwrite=True)
    assert run(sso, token_block_name="sso_revoked") == "DONE"
    login = {"Authorization": f"Bearer {token}"}
    requests.post(f"{sso.base}/api/v1/logout", headers=login, timeout=30).raise_for_status()
    with pytest.raises(YeeduAuthenticationError, match="'sso-revoked'") as caught:
        run(sso, token_block_name="sso_revoked")
    assert f"open {sso.base}/sso for a new one" in str(caught.value)
    assert token not in str(caught.value)


def test_where_passwords_are_used_a_refused_token_is_to_be_made_by_the_api(mock: MockYeedu) -> None:
    with pytest.raises(YeeduAuthenticationError, match=r"POST /api/v1/user/token\) for a new one"):
        run(mock, token_block_name="sso_old_token")


def test_a_credentials_block_names_its_field_and_prefers_the_token(sso: MockYeedu) -> None:
    def job(**secrets: Any) -> YeeduJob:
        return YeeduJob(credentials=YeeduCredentials(username="demo", **secrets), job_url=sso.url("job/101"))

    @flow
    def triggered() -> str:
        run = job(password="wrong", token=new_token(sso)).trigger()
        run.wait_for_completion()
        return run.fetch_result().state

    state = triggered(return_state=True)
    assert state.result() == "DONE"
    assert any("block's token, not with its password" in line for line in logs_of(state))
    place = "in the field 'token' of the YeeduCredentials block"
    with pytest.raises(YeeduConfigurationError, match=f"single sign-on: open .*/sso, .*{place}"):
        job(password=sso.password).trigger()
    with pytest.raises(YeeduAuthenticationError, match=f"open .*/sso for a new one.*{place}"):
        job(token="not-a-token").trigger()
