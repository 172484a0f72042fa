"""https before the server: what has to be set together, and how this machine asks it."""

import errno
import json
import re
import socket
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import trustme

from local import ports
from local.api import PrefectApi
from local.doctor.certificates import check_certificates
from local.doctor.site import Ended, Site
from local.errors import CommandError
from local.loopback import is_answering
from local.ports import is_free
from local.settings.platform import Settings
from local.settings.tls import check_tls
from local.tests.patients import AN_ENGINE, assert_told, checkout, container, notes, patient, serving, wrongs
from tests.tls_server import server_context

HOST = "prefect.example.com"
OVERLAY = {"COMPOSE_FILE": "docker-compose.yaml:deploy/tls.yaml"}
TLS = {**OVERLAY, "PREFECT_UI_URL": f"https://{HOST}"}
FILES = {**TLS, "TLS_MODE": "files"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, ""),
        ({"PREFECT_UI_URL": f"https://{HOST}"}, ""),  # by a proxy of one's own
        (TLS, ""),
        ({**TLS, "TLS_MODE": "internal"}, ""),
        (
            {"TLS_MODE": "internal"},
            ".env has TLS_MODE, and no COMPOSE_FILE=docker-compose.yaml:deploy/tls.yaml",
        ),
        (OVERLAY, "PREFECT_UI_URL is not set; set it to https:// and the name that users type"),
        (
            {**OVERLAY, "PREFECT_UI_URL": f"http://{HOST}"},
            f"PREFECT_UI_URL is http://{HOST}; set it to https://",
        ),
        ({**TLS, "TLS_MODE": "none"}, "TLS_MODE='none': set it to acme, internal or files"),
        ({**TLS, "PREFECT_API_URL": "https://other.example/api"}, "which is for the platform's own server"),
        (FILES, "TLS_MODE=files needs TLS_CERT_FILE, the path of a PEM file"),
        ({**FILES, "TLS_CERT_FILE": "/no/such.pem"}, "TLS_CERT_FILE=/no/such.pem: there is no such file"),
        ({**FILES, "TLS_CERT_FILE": __file__}, "TLS_MODE=files needs TLS_KEY_FILE"),
        ({**FILES, "TLS_CERT_FILE": __file__, "TLS_KEY_FILE": __file__}, ""),
    ],
)
def test_half_a_set_up_is_one_sentence(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(CommandError, match=re.escape(sentence)) if sentence else nullcontext():
        check_tls(Settings(values), in_containers=True)


def test_local_processes_say_that_they_speak_http() -> None:
    with pytest.raises(CommandError, match="local processes serve http only; start Docker, or leave"):
        check_tls(Settings(TLS), in_containers=False)


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = json.dumps("well").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def certificate_of(authority: trustme.CA, folder: Path, days: float) -> Path:
    """Write a certificate for the host of PREFECT_UI_URL that ends after so many days."""
    now = datetime.now(UTC)
    made = authority.issue_cert(
        HOST, not_before=now - timedelta(days=1), not_after=now + timedelta(days=days)
    )
    made.private_key_and_cert_chain_pem.write_to_path(folder / "site.pem")
    return folder / "site.pem"


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[trustme.CA, dict[str, str]]]:
    """A server with a certificate for another name than the address at which this machine asks it."""
    authority = trustme.CA()
    with serving(Api, server_context(certificate_of(authority, tmp_path, 90))) as port:
        yield authority, {**TLS, "PREFECT_PORT": str(port)}


def test_commands_ask_the_published_port_whatever_its_name_is(https: tuple[Any, dict[str, str]]) -> None:
    settings = Settings(https[1])
    assert settings.api_url.startswith("https://127.0.0.1:")
    assert is_answering(f"{settings.api_url}/ready")
    assert PrefectApi.of(settings).get("/x") == "well"


def test_another_server_of_that_kind_is_not_trusted(https: tuple[Any, dict[str, str]]) -> None:
    other = Settings({"PREFECT_API_URL": f"https://127.0.0.1:{https[1]['PREFECT_PORT']}/api"})
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        PrefectApi.of(other).get("/x")


def site_of(tmp_path: Path, values: dict[str, str], root: str = "") -> Site:
    """Return a platform whose proxy runs, and has that CA."""
    site = patient(checkout(tmp_path), values, engine=AN_ENGINE, items=[container("proxy")])
    site.inside = lambda *command: Ended(0, root)  # type: ignore[method-assign]
    return site


def test_doctor_judges_the_certificate_as_who_comes_by_the_name(
    https: tuple[trustme.CA, dict[str, str]], tmp_path: Path
) -> None:
    authority, values = https
    root = authority.cert_pem.bytes().decode()
    (tmp_path / "a").mkdir()
    told = wrongs(site_of(tmp_path / "a", values), "certificates")
    assert_told(told, f"the certificate of {HOST}, which the platform shows, is not trusted", "CA_CERT_FILE")
    site = site_of(tmp_path, {**values, "TLS_MODE": "internal"}, root)
    [found] = list(check_certificates(site))
    assert found.level == "ok"
    assert found.text == f"the certificate of {HOST}, which the platform shows, is good for 89 d"


@pytest.mark.parametrize(
    ("mode", "days", "level"), [("files", 13, "note"), ("files", 15, "ok"), ("acme", 13, "ok")]
)
def test_doctor_tells_of_an_end_that_is_near(tmp_path: Path, mode: str, days: float, level: str) -> None:
    """Of a short-lived one that is renewed by itself, it is told when that is overdue."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with serving(Api, server_context(certificate_of(authority, tmp_path, days))) as port:
        values = {
            **TLS,
            "TLS_MODE": mode,
            "PREFECT_PORT": str(port),
            "CA_CERT_FILE": str(tmp_path / "ca.pem"),
        }
        found = [one for one in check_certificates(site_of(tmp_path, values)) if HOST in one.text]
    assert [one.level for one in found] == [level]


def test_doctor_tells_where_links_lead_past_the_port(tmp_path: Path) -> None:
    site = patient(checkout(tmp_path), {**TLS, "PREFECT_PORT": "8443"}, engine=AN_ENGINE)
    told = f"PREFECT_UI_URL=https://{HOST} leads to port 443, and https is published at PREFECT_PORT=8443"
    assert_told(notes(site, "settings"), told)
    assert notes(patient(site.root, {**TLS, "PREFECT_PORT": "443"}, engine=AN_ENGINE), "settings") == []
    assert_told(
        wrongs(patient(site.root, OVERLAY, engine=AN_ENGINE), "settings"), "PREFECT_UI_URL is not set"
    )


def test_first_ports_are_the_engines_to_listen_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever types `make up` need not be root for port 443."""

    class Refusing(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        monkeypatch.setattr(ports.socket, "socket", Refusing)
        assert not is_free("127.0.0.1", port, for_engine=True)
        with pytest.raises(CommandError, match=r"127\.0\.0\.1:443 cannot be listened on: Permission denied"):
            is_free("127.0.0.1", 443)
    assert is_free("127.0.0.1", port, for_engine=True)
