"""What `make doctor` finds on the machine and on the way to others."""

import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from local.doctor import external_addresses, machine
from local.doctor.certificates import certificate_of
from local.tests.patients import (
    AN_ENGINE,
    NO_ENGINE,
    assert_told,
    checkout,
    findings,
    notes,
    patient,
    serving,
    wrongs,
)
from tests.platforms import free_port
from tests.tls_server import private_authority, server_context

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def test_full_disk_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = patient(checkout(tmp_path), {})
    assert findings(site, "disk")
    monkeypatch.setattr(machine, "FULL_BYTES", 1 << 60)
    found = wrongs(site, "disk")
    assert found
    assert "GB free -> make room now" in found[0]


def test_no_memory_left_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = patient(checkout(tmp_path), {})
    assert wrongs(site, "memory") == []
    monkeypatch.setattr(machine, "MIN_MEMORY_BYTES", 1 << 60)
    assert_told(wrongs(site, "memory"), "available", "WORKER_MEMORY")


def test_port_that_another_process_holds_is_wrong_and_names_it(tmp_path: Path) -> None:
    values = {"PREFECT_PORT": str(free_port()), "YEEDU_MOCK_PORT": str(free_port())}
    assert wrongs(patient(checkout(tmp_path), values), "ports") == []
    with socket.create_server(("127.0.0.1", int(values["PREFECT_PORT"]))):
        found = wrongs(patient(tmp_path, values), "ports")
    assert_told(found, values["PREFECT_PORT"], "process ", "PREFECT_PORT in .env")


class Page(BaseHTTPRequestHandler):
    """Tells a time that is not now."""

    ahead = timedelta(0)

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(datetime.now(UTC) + self.ahead, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.mark.parametrize(("ahead", "words"), [(0, []), (3600, ["ahead of"]), (-3600, ["behind"])])
def test_server_with_another_time_is_wrong(tmp_path: Path, ahead: int, words: list[str]) -> None:
    page = type("Page", (Page,), {"ahead": timedelta(seconds=ahead)})
    with serving(page) as port:
        found = wrongs(patient(checkout(tmp_path), {"PREFECT_PORT": str(port)}), "clock")
    if words:
        assert_told(found, *words, "NTP")
    else:
        assert found == []


def test_host_that_does_not_resolve_is_wrong(tmp_path: Path) -> None:
    site = patient(checkout(tmp_path), {"FLOWS_GIT_URL": "git@no-such-host.invalid:team/flows.git"})
    assert_told(wrongs(site, "names"), "no-such-host.invalid", "FLOWS_GIT_URL")
    assert wrongs(patient(tmp_path, {"YEEDU_JOB_URL": "http://127.0.0.1:1/x"}), "names") == []


def test_proxy_that_containers_do_not_get_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary@127.0.0.1:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    values = {"FLOWS_GIT_URL": "https://github.example.com/team/flows.git"}
    site = patient(checkout(tmp_path), values, engine=AN_ENGINE)
    assert_told(wrongs(site, "proxies"), "https_proxy", "containers get none", "config.json")
    assert "canary" not in str(findings(site, "proxies"))
    assert_told(notes(patient(tmp_path, {}, engine=AN_ENGINE), "proxies"), "containers get none")
    (tmp_path / "config.json").write_text('{"proxies": {"default": {"httpsProxy": "http://127.0.0.1:3128"}}}')
    assert wrongs(site, "proxies") == []
    assert wrongs(patient(tmp_path, values, engine=NO_ENGINE), "proxies") == []


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("HTTP_PROXY", "https://git.example.com/x.git"),
        ("HTTPS_PROXY", "https://10.1.2.3/x.git"),
        ("HTTPS_PROXY", "http://git.example.com/x.git"),
    ],
)
def test_address_that_is_reached_without_the_proxy_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,10.0.0.0/8")
    site = patient(checkout(tmp_path), {"FLOWS_GIT_URL": url}, engine=AN_ENGINE)
    assert wrongs(site, "proxies") == []
    assert_told(notes(site, "proxies"), "containers get none")


def test_shell_that_reaches_the_platform_by_a_proxy_is_worth_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:3128")
    found = notes(patient(checkout(tmp_path), {}), "proxies")
    assert_told(found, "NO_PROXY of this shell lacks 127.0.0.1, localhost", "export NO_PROXY=")


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Generator[int]:
    """Answer one connection after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    speak(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def shown(folder: Path, left: timedelta, name: str = "127.0.0.1") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server shows that is good for so long, and what a client needs to trust it."""
    authority = trustme.CA()
    own = authority.issue_cert(name, not_after=datetime.now(UTC) + left)
    own.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    client = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    return server_context(folder / "server.pem"), client


def tls(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    def speak(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as encrypted:
                encrypted.recv(1)
        except OSError:
            pass

    return speak


@pytest.mark.parametrize(
    ("days", "name", "level", "words"),
    [
        (300, "127.0.0.1", "ok", "is good for"),
        (3, "127.0.0.1", "note", "ends in 2 d"),
        (-1, "127.0.0.1", "WRONG", "has expired"),
        (300, "127.0.0.2", "WRONG", "is not trusted"),
    ],
)
def test_certificate_that_has_ended_or_soon_will_is_told(
    tmp_path: Path, days: int, name: str, level: str, words: str
) -> None:
    server, client = shown(tmp_path, timedelta(days=days), name)
    with speaking(tls(server)) as port:
        found = certificate_of("YEEDU_JOB_URL", "https", "127.0.0.1", port, client)
    assert found.level == level, found
    assert words in found.text


def test_certificate_of_a_database_is_asked_for_as_postgres_wants_it(tmp_path: Path) -> None:
    server, client = shown(tmp_path, timedelta(days=300))

    def postgres(connection: socket.socket) -> None:
        assert connection.recv(8) == bytes.fromhex("0000000804d2162f")
        connection.sendall(b"S")
        tls(server)(connection)

    with speaking(postgres) as port:
        assert certificate_of("HOST", "postgresql", "127.0.0.1", port, client).level == "ok"
    with speaking(lambda connection: connection.sendall(b"N")) as port:
        assert "takes no TLS" in certificate_of("HOST", "postgresql", "127.0.0.1", port, client).text


def test_authority_of_ones_own_is_trusted_and_one_that_is_not_named_is_not(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with speaking(tls(server_context(tmp_path / "server.pem"))) as port:
        values = {"FLOWS_GIT_URL": f"https://127.0.0.1:{port}/flows.git"}
        assert_told(
            wrongs(patient(checkout(tmp_path), values), "certificates"), "is not trusted", "CA_CERT_FILE"
        )
        assert (
            wrongs(patient(tmp_path, {**values, "CA_CERT_FILE": str(tmp_path / "ca.pem")}), "certificates")
            == []
        )


class Api(BaseHTTPRequestHandler):
    """Answers as a Prefect server that has no pools."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_another_server_of_an_authority_of_ones_own_is_trusted(tmp_path: Path) -> None:
    authority, certificate = private_authority(tmp_path)
    with serving(Api, server_context(certificate)) as port:
        values = {"PREFECT_API_URL": f"https://127.0.0.1:{port}/api"}
        assert "CERTIFICATE_VERIFY_FAILED" in patient(checkout(tmp_path), values).server()
        assert patient(tmp_path, {**values, "CA_CERT_FILE": str(authority)}).server() == ""
        broken = patient(tmp_path, {**values, "CA_CERT_FILE": str(certificate.parent / "none.pem")})
        assert "CA_CERT_FILE" in broken.server()


@pytest.mark.parametrize(("value", "is_asked"), [("False", 0), ("0", 0), ("no", 0), ("True", 1), ("1", 1)])
def test_database_without_tls_is_not_asked_for_its_certificate(
    tmp_path: Path, value: str, is_asked: int
) -> None:
    values = {"PREFECT_SERVER_DATABASE_HOST": "127.0.0.1", "PREFECT_SERVER_DATABASE_PORT": str(free_port())}
    site = patient(checkout(tmp_path), {**values, external_addresses.DATABASE_TLS: value})
    assert len(wrongs(site, "certificates")) == is_asked


def test_authority_that_has_ended_counts_where_it_is_the_only_one(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for name, start, end in (("old", -20, -1), ("new", -20, 300)):
        make_authority(tmp_path / f"{name}.pem", now + timedelta(days=start), now + timedelta(days=end))
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "old.pem").read_bytes() + (tmp_path / "new.pem").read_bytes())
    site = patient(checkout(tmp_path), {"CA_CERT_FILE": str(both)})
    assert wrongs(site, "certificates") == []
    assert_told(notes(site, "certificates"), "ended", "a new one")
    alone = patient(tmp_path, {"CA_CERT_FILE": str(tmp_path / "old.pem")})
    assert_told(wrongs(alone, "certificates"), "ended", "a new one")


def make_authority(file: Path, start: datetime, end: datetime) -> None:
    """Write the certificate of an authority that is good between two times."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, file.stem)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), start, end)
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    made = builder.add_extension(constraints, critical=True).sign(key, hashes.SHA256())
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def test_nobody_listening_is_wrong(tmp_path: Path) -> None:
    values = {"YEEDU_JOB_URL": f"https://127.0.0.1:{free_port()}/tenant/x"}
    assert_told(
        wrongs(patient(checkout(tmp_path), values), "certificates"), "cannot be reached", "YEEDU_JOB_URL"
    )


def test_addresses_of_the_platform_itself_are_nobody_elses(tmp_path: Path) -> None:
    values = {
        "FLOWS_GIT_URL": "http://git-server:8080/flows.git",
        "WAREHOUSE_URL": "postgresql://w@warehouse/w",
    }
    assert external_addresses.external_addresses(patient(checkout(tmp_path), values)) == {}
