"""What `make doctor` masks, by value and by looks, and that it takes no time to speak of."""

import base64
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from local.doctor.env_file import is_secret
from local.doctor.masking import Masker
from local.doctor.run import masker_of
from local.tests.patients import checkout, patient

MANY = 1 << 16


@pytest.mark.parametrize(
    "piece",
    [
        *("0123456789abcdef", "a", "-", " ", "\\", "token", "password-", "token ", "token \\", "-eyJabcde"),
        *(
            "eyJ-",
            "eyJabcde.",
            "://",
            "://a",
            "basic ",
            "-----BEGIN ",
            "-----BEGIN RSA PRIVATE KEY",
            "x=",
            "gho_",
        ),
        *("password='", "password='\\", "pwd: a", 'secret"', "secret" + " " * 9, "api_key" * 9, "eyJabcde-"),
    ],
)
def test_a_word_without_end_is_masked_in_no_time(piece: str) -> None:
    text = piece * (MANY // len(piece))
    began = time.process_time()
    Masker(["a-secret-of-the-tests"]).masked(text)
    assert time.process_time() - began < 5


def test_a_megabyte_of_hexadecimal_digits_is_masked_in_no_time() -> None:
    began = time.process_time()
    assert Masker(["a-secret-of-the-tests"]).masked("0123456789abcdef" * (1 << 16)).startswith("0123")
    assert time.process_time() - began < 5


def basic(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


def test_a_secret_is_masked_in_every_way_that_it_is_written(tmp_path: Path) -> None:
    password, token = "of yeedu/é?=", "of+git/hosts"
    values = {"YEEDU_USERNAME": "me", "YEEDU_PASSWORD": password, "FLOWS_GIT_TOKEN": token}
    values["PREFECT_API_AUTH_STRING"] = "admin:of a server"
    masker, _ = masker_of(patient(checkout(tmp_path), values))
    written = (
        *(password, quote(password), quote(password, safe=""), quote(password).lower()),
        *(basic(f"me:{password}"), basic(f"x-access-token:{token}"), basic(f"oauth2:{token}")),
        *(
            basic(f"{token}:"),
            basic(f":{token}"),
            basic("admin:of a server"),
            basic("admin:of a server").rstrip("="),
        ),
    )
    assert [masker.masked(f"<{one}>") for one in written] == ["<***>"] * len(written)


def test_all_that_flows_have_of_their_own_is_masked_but_numbers(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    own = "LAKE_USER=somebody\nLAKE_URL='jdbc:lake;pw=x y'\nRETRIES=12000\nIS_ON=false\nENV=dev\n"
    (tmp_path / "team" / "flows.env").write_text(own)
    masker, _ = masker_of(patient(checkout(tmp_path), {"CONFIG_DIR": str(tmp_path / "team")}))
    assert masker.masked("somebody, jdbc:lake;pw=x y, 12000, false, dev") == "***, ***, 12000, false, dev"


@pytest.mark.parametrize(
    "name",
    [
        *("DB_PASS", "DBPASS", "KEY_PASSPHRASE", "AZURE_ACCOUNT_KEY", "JWT_SIGNING_KEY", "AWS_ACCESS_KEY"),
        *("FERNET_KEY", "LAKE_CONNECTION_STRING"),
    ],
)
def test_names_that_tell_of_a_secret(name: str) -> None:
    assert is_secret(name)
    assert Masker([]).masked(f"{name.replace('DBPASS', 'PASS')}=of-mine").endswith("=***")


def test_a_document_stays_one_whatever_the_secret_is() -> None:
    found = {"text": 'a "quote\\', "pass": "x", "list": ["text", 3, None], "token": ""}
    hidden = Masker(['"quote\\', "text"]).masked_document(found)
    assert hidden == {"text": "a ***", "pass": "***", "list": ["***", 3, None], "token": ""}
