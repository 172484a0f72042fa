"""The same jobs and notebooks in each API generation, on the mock; and SQL, TLS, single sign-on."""

import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from addressed import AddressedClient, execute, find_api
from mock_yeedu import MockYeedu, self_signed
from scripted_yeedu import Handler, ScriptedYeedu

from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.errors import (
    YeeduConfigurationError,
    YeeduNotFound,
    YeeduRunFailed,
    YeeduSubmissionUnknown,
)
from prefect_yeedu.models import Generation, YeeduResult
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.wait_options import WaitOptions
from prefect_yeedu.wire.kernel_protocol import execute_request
from prefect_yeedu.wire.notebook_document import NotebookDocument


def run(mock: MockYeedu, path: str, **request: Any) -> YeeduResult:
    with mock.client(path) as client:
        return execute(client, RunRequest(**request))


JOB_FORMS = [
    "spark/conf/{}",
    "spark/conf/{}/metrics?type=spark_job",
    "spark/conf/job/{}",
    "spark/job/{}",
    "job/{}",
]


@pytest.mark.parametrize("form", JOB_FORMS)
def test_a_job_runs_by_every_form_of_its_address(mock: MockYeedu, form: str) -> None:
    result = run(mock, form.format(101))
    assert result.state == "DONE"
    assert "Done." in result.stdout


@pytest.mark.parametrize("form", JOB_FORMS)
def test_a_failing_job_fails_by_every_form(mock: MockYeedu, form: str) -> None:
    with pytest.raises(YeeduRunFailed):
        run(mock, form.format(102))


def test_a_run_s_own_address_attaches_to_it(mock: MockYeedu) -> None:
    first = run(mock, "job/101")
    again = run(mock, f"run/{first.run_id}/run-metrics?type=spark_job")
    assert (again.run_id, again.stdout) == (first.run_id, first.stdout)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_first_generation_run_is_found_by_time_and_user(mock: MockYeedu, is_accepted: bool) -> None:
    job = mock.control("POST", "jobs", json={"program": "print('once')"})["job_id"]
    drop = "after" if is_accepted else "before"
    mock.control("POST", "faults", json={"path": "spark/job$", "method": "POST", "drop": drop})
    options = WaitOptions(submit_seconds=1.0)
    if is_accepted:
        assert run(mock, f"spark/conf/{job}", options=options).stdout == "once\n"
    else:  # nobody can know that the submission was not only slow
        with pytest.raises(YeeduSubmissionUnknown):
            run(mock, f"spark/conf/{job}", options=options)
    with mock.client("job/1") as client:
        try:
            answer = client.get_object("workspace/1/spark/jobs", "for runs", params={"job_conf_ids": job})
        except YeeduNotFound:
            answer = {"data": []}
    assert len(answer["data"]) == int(is_accepted)


@pytest.mark.parametrize(
    "runs",
    [
        [{"job_id": 8}],
        [{"job_id": number, "created_at": "2999-01-01T00:00:00", "created_by": "demo"} for number in (8, 9)],
    ],
)
def test_a_submission_that_nobody_can_vouch_for_is_not_repeated(
    yeedu: ScriptedYeedu, runs: list[dict[str, Any]]
) -> None:
    yeedu.on("POST", "workspace/1/spark/job", (0, {}))
    yeedu.on("GET", "workspace/1/spark/jobs", (200, {"data": runs}))
    with (
        yeedu.client("spark/conf/5") as client,
        pytest.raises(YeeduSubmissionUnknown, match="not known whether"),
    ):
        execute(client, RunRequest())
    assert len(yeedu.called("POST", "workspace/1/spark/job")) == 1


def test_the_generation_of_a_notebook_is_found_out(yeedu: ScriptedYeedu) -> None:
    with yeedu.client("spark/notebook/5") as client:
        with pytest.raises(YeeduNotFound, match="There is no notebook 5 in workspace 1"):
            find_api(client, RunRequest())
        yeedu.on("GET", "workspace/1/notebook/conf", (200, {"notebook_cells": {"cells": []}}))
        assert find_api(client, RunRequest()).generation is Generation.V1
        yeedu.on("GET", "workspace/1/notebook", (200, {"notebook_id": 5}))
        assert find_api(client, RunRequest()).generation is Generation.V2


@pytest.mark.parametrize(
    "refusal",
    [
        (404, b"<html>no such page</html>"),
        (405, b"<html>"),
        (400, {"error_code": "X", "message": "no"}),
    ],
)
def test_a_server_may_refuse_the_routes_of_a_later_generation_in_any_way(
    yeedu: ScriptedYeedu, refusal: Any
) -> None:
    yeedu.on("GET", "workspace/1/notebook", refusal)
    yeedu.on("GET", "workspace/1/notebook/conf", (200, {"notebook_cells": {"cells": []}}))
    with yeedu.client("spark/notebook/5") as client:
        assert find_api(client, RunRequest()).generation is Generation.V1


def test_what_a_generation_does_not_take_is_refused(yeedu: ScriptedYeedu) -> None:
    request = RunRequest(arguments="--day 1")
    with yeedu.client("spark/conf/5") as client:
        with pytest.raises(YeeduConfigurationError, match="neither arguments nor conf"):
            find_api(client, request)
        assert find_api(client, replace(request, generation=Generation.V1B)).routes.takes_conf


@pytest.mark.parametrize("language", ["SQL", "sql"])
def test_sql_cells_are_sent_as_sql(language: str) -> None:
    cells = [
        {"source": "SELECT 1"},
        {"source": ["%%sql\n", "SELECT 2"]},
        {"cell_type": "markdown", "source": "# x"},
    ]
    document = NotebookDocument({"cells": cells}, language)
    assert [cell.code for cell in document.cells][:2] == ["%%sql\nSELECT 1", "%%sql\nSELECT 2"]
    assert [cell.is_executable for cell in document.cells] == [True, True, False]
    assert "SELECT 1" in execute_request(document.cells[0].code, message_id="m", session_id="s")


def test_copied_cells_get_ids_of_their_own() -> None:
    document = NotebookDocument(
        {"cells": [{"cell_uuid": "a", "source": "1"}, {"cell_uuid": "a", "source": "2"}]}
    )
    assert document.cells[0].id == "a"
    assert document.cells[1].id not in {"", "a"}


def test_a_notebook_without_cells_is_refused() -> None:
    with pytest.raises(YeeduConfigurationError, match="has no cells"):
        NotebookDocument({"metadata": {}})


@pytest.fixture
def tls_yeedu(tmp_path: Path) -> Iterator[tuple[ScriptedYeedu, Path]]:
    """A Yeedu behind TLS, with a certificate that only its own file vouches for."""
    certificate = self_signed(tmp_path)
    scripted = ScriptedYeedu()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"yeedu": scripted}))
    server.daemon_threads = True
    server.block_on_close = False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    scripted.port = server.server_address[1]
    scripted.on("GET", "healthCheck", (200, {"message": "OK"}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield scripted, certificate
    server.shutdown()
    server.server_close()
    thread.join()


def check(yeedu: ScriptedYeedu, tls: TLSSettings) -> str:
    with AddressedClient(f"https://127.0.0.1:{yeedu.port}/healthCheck", tls=tls) as client:
        return client.check_health()["message"]


def test_a_ca_file_is_trusted(tls_yeedu: tuple[ScriptedYeedu, Path]) -> None:
    yeedu, certificate = tls_yeedu
    assert check(yeedu, TLSSettings.from_options("true", str(certificate))) == "OK"


def test_the_environments_ca_file_is_trusted_by_requests_and_by_a_kernels_websocket(
    tls_mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_mock.certificate))
    url = tls_mock.url("notebook/201")
    with AddressedClient(url, Credentials("demo", tls_mock.password)) as client:
        result = execute(client, RunRequest())
    assert (result.state, len(result.cells)) == ("STOPPED", 3)


def test_by_default_the_systems_certificates_decide(tls_yeedu: tuple[ScriptedYeedu, Path]) -> None:
    with pytest.raises(YeeduConfigurationError, match="not trusted or not valid"):
        check(tls_yeedu[0], TLSSettings())


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_checking_can_be_switched_off_with_a_warning(
    tls_yeedu: tuple[ScriptedYeedu, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert check(tls_yeedu[0], TLSSettings.from_options("FALSE", "")) == "OK"
    assert "is not checked" in caplog.text


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_one_client_s_tls_settings_are_not_another_s(tls_yeedu: tuple[ScriptedYeedu, Path]) -> None:
    url = f"https://127.0.0.1:{tls_yeedu[0].port}/healthCheck"
    with (
        AddressedClient(url) as checking,
        AddressedClient(url, tls=TLSSettings.from_options("false", "")) as trusting,
    ):
        for _ in range(2):
            assert trusting.check_health()["message"] == "OK"
            with pytest.raises(YeeduConfigurationError, match="not trusted or not valid"):
                checking.check_health()


def test_wrong_tls_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(YeeduConfigurationError, match="only true and false"):
        TLSSettings.from_options("maybe", None)
    with pytest.raises(YeeduConfigurationError, match="not a file on this machine"):
        TLSSettings.from_options("true", str(tmp_path / "absent.pem"))
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(YeeduConfigurationError, match="cannot be read as PEM"):
        TLSSettings.from_options(True, str(empty)).context()


def test_credentials_need_a_password_or_a_token() -> None:
    with pytest.raises(YeeduConfigurationError, match="password is missing"):
        Credentials("demo")
    with pytest.raises(YeeduConfigurationError, match="user name is missing"):
        Credentials(password="x")
