"""The contract suite as a command: its table, its report, and one sentence for what cannot be looked at."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import contract_yeedu
import pytest
import requests
from contract_yeedu import PASSWORD, Yeedu, settings
from mock_yeedu import self_signed

from contract import cli
from contract.assumptions_of_runs import ASSUMPTIONS
from contract.findings import Findings, Verdict, code, word
from contract.settings import SettingsError, read_settings
from yeedu_mock.control.faults import Fault
from yeedu_mock.testing import running_mock

PROGRAM = Path(cli.__file__).parent
URL = "https://yeedu.example.com:8080/tenant/TENANT/workspace/1"
LOGIN = {"YEEDU_USERNAME": "me", "YEEDU_PASSWORD": "mine"}


fresh, yeedu = contract_yeedu.fresh, contract_yeedu.yeedu


def run(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def said(capsys: pytest.CaptureFixture[str], environment: dict[str, str]) -> str:
    """Return the one sentence that the command ends with."""
    assert cli.main([], environment) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.strip().removeprefix("contract: ")


def test_the_command_prints_a_table_and_writes_a_report_without_anybodys_names_and_secrets(
    yeedu: Yeedu, tmp_path: Path
) -> None:
    yeedu.mock.switch(expired_status=440, list_order="oldest_first")
    ended = run(tmp_path, yeedu.environment(CONTRACT_RUNS="1"), "--json", "report.json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(
        r"(?m)^  no        A token that is not accepted is a 401 \(440 RFA-000001\)$", ended.stdout
    )
    assert re.search(r"(?m)^  yes       Stopping a running job is a 201$", ended.stdout)
    assert re.search(r"(?m)^What follows where the answer is no$", ended.stdout)
    assert "more pages are read, up to a time limit" in ended.stdout
    report = (tmp_path / "report.json").read_text(encoding="utf-8")
    rows = {row["key"]: row for row in json.loads(report)["rows"]}
    assert rows.keys() == ASSUMPTIONS.keys()
    assert (rows["list-order"]["verdict"], rows["refused-401"]["seen"]) == ("no", "440 RFA-000001")
    ids = [str(one["run_id"]) for one in yeedu.runs()]
    port = yeedu.mock.url.rpartition(":")[2]
    for hidden in (PASSWORD, yeedu.token, yeedu.mock.tenant, "demo", "127.0.0.1", port, "hello", *ids):
        assert not re.search(rf"\b{re.escape(hidden)}\b", ended.stdout + report), hidden


def test_a_report_that_cannot_be_written_is_one_sentence(yeedu: Yeedu, tmp_path: Path) -> None:
    ended = run(tmp_path, yeedu.environment(), "--json", "no/such/report.json")
    assert ended.returncode == 2
    assert ended.stderr == "contract: no/such/report.json cannot be written: No such file or directory\n"
    assert ended.stdout.rstrip().endswith("not seen.")


def test_a_token_is_used_as_it_is_and_outlives_the_look(yeedu: Yeedu, tmp_path: Path) -> None:
    token = yeedu.log_in()
    (tmp_path / "token").write_text(f"{token}\n")
    ended = run(tmp_path, {"YEEDU_URL": yeedu.mock.job_url(1), "YEEDU_TOKEN_FILE": str(tmp_path / "token")})
    assert ended.returncode == 0, ended.stderr
    assert (
        "  not seen  A user name and a password are answered with a token (a token was given)" in ended.stdout
    )
    assert token not in ended.stdout
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{yeedu.api}/user/info", headers=headers, timeout=30).ok


def test_what_a_server_calls_things_is_shown_only_where_it_is_a_plain_word(yeedu: Yeedu) -> None:
    assert [word(one) for one in ("RUNNING", "running", "A" * 99, "TOKEN: x", None)] == [
        "RUNNING",
        *["no word"] * 4,
    ]
    assert [code(one) for one in ("RFA-000404", "x" * 40, 404, None)] == ["RFA-000404", "", "", ""]
    body = {"error_code": "your password is planted-password", "error_message": "planted-password"}
    yeedu.mock.mock.control.faults.add(Fault(path="/run/2000000007$", times=None, status=418, body=body))
    findings = cli.probe_server(read_settings(yeedu.environment()))
    assert findings["unknown-run"].verdict is Verdict.NO
    assert findings["unknown-run"].seen == "418"
    assert "planted" not in findings.as_text()


def test_a_probe_that_is_cut_short_leaves_the_others(yeedu: Yeedu) -> None:
    yeedu.mock.mock.control.faults.add(Fault(path="/spark/job/runs$", drop="before", times=2, skip=2))
    findings = cli.probe_server(read_settings(yeedu.environment()))
    assert re.search(r"(?m)^`probe \w+` was cut short: ConnectionError\.$", findings.as_text())
    assert findings["workspace"].verdict is Verdict.YES
    assert findings["logout"].verdict is Verdict.YES


def test_the_rows_are_plain_text_of_one_line() -> None:
    keys = [*ASSUMPTIONS]
    assert len(keys) == len(set(keys)) > 70
    for row in ASSUMPTIONS.values():
        assert row.says.isascii()
        assert not row.says.endswith(".")
        assert row.used_for
        assert row.otherwise
    with pytest.raises(KeyError):
        Findings().note("no-such-row", True)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "Set YEEDU_URL to the address of a workspace, a job or a notebook, such as .*"),
        ({"YEEDU_URL": "yeedu.example.com", **LOGIN}, "YEEDU_URL is no address of a workspace.*"),
        ({"YEEDU_URL": "https://h:port/tenant/t/workspace/1", **LOGIN}, "YEEDU_URL is no address of.*"),
        ({"YEEDU_URL": URL}, "Set YEEDU_USERNAME and YEEDU_PASSWORD_FILE, or YEEDU_TOKEN_FILE; .*"),
        ({"YEEDU_URL": URL, "YEEDU_USERNAME": "me"}, "Set YEEDU_USERNAME and YEEDU_PASSWORD_FILE, or .*"),
        (
            {"YEEDU_URL": URL, "YEEDU_TOKEN_FILE": sys.executable},
            "YEEDU_TOKEN_FILE names .*, which is no text.",
        ),
        (
            {"YEEDU_URL": URL, "YEEDU_USERNAME": "me", "YEEDU_PASSWORD_FILE": "/no/such"},
            "YEEDU_PASSWORD_FILE names /no/such, which cannot be read: No such file or directory.",
        ),
        (
            {"YEEDU_URL": URL, **LOGIN, "CONTRACT_RUNS": "maybe"},
            "CONTRACT_RUNS is 'maybe', but only 1 and 0 .*",
        ),
        (
            {"YEEDU_URL": URL, **LOGIN, "CONTRACT_RUNS": "1"},
            "CONTRACT_RUNS lets a job and a notebook be run: set .*",
        ),
        (
            {
                "YEEDU_URL": URL,
                **LOGIN,
                "YEEDU_JOB_URL": URL.replace("workspace/1", "workspace/2/spark/job/5"),
            },
            "YEEDU_JOB_URL and YEEDU_URL name different workspaces; ask about one at a time.",
        ),
        (
            {"YEEDU_URL": URL, **LOGIN, "CA_CERT_FILE": __file__},
            "CA_CERT_FILE holds no certificates in PEM form.",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(
    environment: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.fullmatch(sentence, said(capsys, environment))


@pytest.mark.parametrize(
    ("path", "base_url", "job", "notebook"),
    [
        ("https://h:8080/tenant/t/workspace/1", "https://h:8080", None, None),
        ("https://h/tenant/t/workspace/1/spark/job/5", "https://h:8080", 5, None),
        ("http://h:1/below/tenant/t/workspace/1/job/5/runs", "http://h:1/below", 5, None),
        ("https://h:1/tenant/t/workspace/1/spark/conf/job/5?page=2", "https://h:1", 5, None),
        ("https://[::1]:1/tenant/t/workspace/1/spark/notebook/7", "https://[::1]:1", None, 7),
    ],
)
def test_an_address_says_what_to_look_at(
    path: str, base_url: str, job: int | None, notebook: int | None
) -> None:
    place = read_settings({"YEEDU_URL": path, **LOGIN}).place
    assert (place.base_url, place.tenant, place.workspace) == (base_url, "t", 1)
    assert (place.job, place.notebook) == (job, notebook)


def test_secrets_are_not_in_the_text_form_of_settings() -> None:
    found = read_settings({"YEEDU_URL": URL, **LOGIN, "YEEDU_TOKEN": "my-token"})
    assert "my-token" not in repr(found)
    assert "mine" not in repr(found)
    with pytest.raises(SettingsError):
        read_settings({})


def test_a_login_that_is_refused_is_one_sentence(yeedu: Yeedu, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = yeedu.environment(YEEDU_PASSWORD="wrong")
    assert said(capsys, wrong) == "Yeedu refuses the login (401 RFA-000002); check the values that are set."
    token = yeedu.environment(YEEDU_TOKEN="wrong")
    assert said(capsys, token) == "Yeedu refuses the token (401 RFA-000001); check the values that are set."
    elsewhere = yeedu.environment(
        YEEDU_URL=f"{yeedu.mock.url}/tenant/none/workspace/1", YEEDU_NOTEBOOK_URL=""
    )
    assert said(capsys, elsewhere).startswith("Yeedu refuses the tenant in YEEDU_URL (404 RFA-000404)")


def test_a_proxys_page_is_told_from_a_refusal(yeedu: Yeedu, capsys: pytest.CaptureFixture[str]) -> None:
    yeedu.mock.switch(gateway_status=502)
    assert re.match(
        r"The login was answered with 502 without an error_code of Yeedu's: .*",
        said(capsys, yeedu.environment()),
    )


def test_a_server_with_single_sign_on_asks_for_a_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_mock(settings(tmp_path, auth_type="AZURE_SSO")) as mock:
        environment = {"YEEDU_URL": mock.job_url(1), **LOGIN}
        assert said(capsys, environment).startswith(
            "This Yeedu has single sign-on: give a token in YEEDU_TOKEN"
        )


def test_a_server_that_does_not_answer_is_one_sentence(
    unused_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"YEEDU_URL": f"http://127.0.0.1:{unused_port}/tenant/t/workspace/1", **LOGIN}
    assert said(capsys, environment).startswith("Nothing answers at YEEDU_URL (ConnectionError); ")


def test_a_companys_own_ca_is_trusted_where_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = self_signed(tmp_path)
    with running_mock(settings(tmp_path / "state", tls_certificate=certificate)) as mock:
        environment = {
            "YEEDU_URL": mock.notebook_url(201),
            "YEEDU_USERNAME": "demo",
            "YEEDU_PASSWORD": PASSWORD,
            "CONTRACT_RUNS": "1",
        }
        assert said(capsys, environment).startswith(
            "The server's certificate is not trusted; set CA_CERT_FILE"
        )
        findings = cli.probe_server(read_settings({**environment, "CA_CERT_FILE": str(certificate)}))
    assert findings["token-in-path"].verdict is Verdict.YES
    assert findings["kill"].verdict is Verdict.YES
