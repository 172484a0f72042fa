"""https before the platform, by every way to a certificate; the ACME server is Pebble, in its own network."""

import base64
import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
import yaml
from playwright.sync_api import Browser, Error, sync_playwright
from requests.adapters import HTTPAdapter

from tests.browser.attacks import Attempt, foreign_server, variables
from tests.browser.conftest import CHROMIUM
from tests.e2e.test_attached_workers import POOL, await_online, output_of, pool_of, run_on
from tests.machines import machine
from tests.platforms import (
    OUTPUT,
    Api,
    ComposePlatform,
    brought_up,
    copy_checkout,
    free_port,
    image,
    wait_for,
)

pytestmark = [
    pytest.mark.docker,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("platform"),
]
HOST = "prefect.example.com"
LOGIN = "admin:canary-of-the-login"
AUTHORIZATION = {
    "Authorization": f"Basic {base64.b64encode(LOGIN.encode()).decode()}"
}  # as a browser adds it
LIFETIME_SECONDS = 60
PEBBLE = {
    "listenAddress": "0.0.0.0:14000",
    "managementListenAddress": "0.0.0.0:15000",
    "certificate": "/acme/pebble.pem",
    "privateKey": "/acme/pebble.key",
    "httpPort": 8080,  # it asks the proxy's container, and not this machine's ports 80 and 443
    "tlsPort": 8443,
    "certificateValidityPeriod": LIFETIME_SECONDS,
}
LISTENS = "import socket; socket.create_connection(('127.0.0.1', 14000), 5)"
OVERLAY = {
    "services": {
        "pebble": {
            "image": "yeedu-prefect-test-machine-pebble",
            "environment": {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
            "volumes": ["./acme:/acme:ro"],
            "networks": ["platform"],
            "healthcheck": {"test": ["CMD", "python3", "-c", LISTENS], "interval": "1s"},
        },
        "proxy": {
            "networks": {"platform": {"aliases": [HOST]}},
            "depends_on": {"pebble": {"condition": "service_healthy"}},
        },
    }
}


class _Named(HTTPAdapter):
    """Takes whoever it is connected with for the host of PREFECT_UI_URL, and checks its certificate."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, server_hostname=HOST, assert_hostname=HOST)


class TlsApi(Api):
    """The API as a program asks it that trusts one CA."""

    def __init__(self, port: int) -> None:
        super().__init__(f"https://127.0.0.1:{port}/api", LOGIN)
        self.root = Path()
        self._headers = {"Host": f"{HOST}:{port}"}

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        with requests.Session() as session:
            session.mount("https://", _Named())
            url, login = f"{self.url}/{path}", self._login
            return session.request(
                method, url, json=body, auth=login, headers=self._headers, verify=str(self.root), timeout=90
            )


class TlsPlatform(ComposePlatform):
    """The platform behind https, with an ACME server in its network."""

    def __init__(self, checkout: Path) -> None:
        super().__init__(checkout)
        self.http_port = free_port()
        self.address = f"https://{HOST}:{self.port}"
        self.api = TlsApi(self.port)
        self.environment |= {
            "COMPOSE_FILE": "docker-compose.yaml:deploy/tls.yaml:acme/compose.yaml",
            "CADDY_IMAGE": machine("caddy"),
            "PREFECT_UI_URL": self.address,
            "PREFECT_API_AUTH_STRING": LOGIN,
            "TLS_HTTP_PORT": str(self.http_port),
            "TLS_ACME_DIRECTORY": "https://pebble:14000/dir",
            "TLS_ACME_CA_FILE": "./acme/authority.pem",
        }

    def switch(self, **settings: str) -> None:
        """Set something else, as in `.env`, and have the proxy follow."""
        self.environment |= settings
        self.must("docker", "compose", "up", "--detach", "--no-build", "--no-deps", "--wait", "proxy")

    def trust(self, root: str) -> None:
        """Trust a CA from now on, and no other."""
        self.api.root = self.checkout / "acme" / "root.pem"
        self.api.root.write_text(root, encoding="utf-8")

    def shown(self) -> dict[str, Any]:
        """Return what the certificate says that the platform shows, once it is one of the CA's."""
        context = ssl.create_default_context(cafile=str(self.api.root))

        def look() -> dict[str, Any] | None:
            try:
                with (
                    socket.create_connection(("127.0.0.1", self.port), 30) as plain,
                    context.wrap_socket(plain, server_hostname=HOST) as encrypted,
                ):
                    return dict(encrypted.getpeercert() or {})
            except (ssl.SSLError, ConnectionError):
                return None

        return wait_for("certificate of the CA", look, 60)

    def diagnosis(self, **settings: str) -> list[str]:
        """Return what `make doctor` finds of the platform's own certificate."""
        done = self.command("make", "--silent", "doctor", "JSON=1", environment=settings)
        found = json.loads(done.stdout)["findings"]
        return [f"{one['level']} {one['text']}" for one in found if HOST in one["text"]]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPlatform]:
    """The platform with a certificate that Pebble issued, which is short-lived."""
    machine("pebble")
    checkout = tmp_path_factory.mktemp("tls") / "yeedu-prefect"
    copy_checkout(checkout)
    platform = TlsPlatform(checkout)
    platform.edit("proxy/Caddyfile", "grace_period 10s", "grace_period 10s\n\trenew_interval 1s")
    folder = checkout / "acme"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    own = authority.issue_cert("pebble")
    own.private_key_pem.write_to_path(folder / "pebble.key")
    own.cert_chain_pems[0].write_to_path(folder / "pebble.pem")
    (folder / "config.json").write_text(json.dumps({"pebble": PEBBLE}), encoding="utf-8")
    (folder / "compose.yaml").write_text(yaml.safe_dump(OVERLAY), encoding="utf-8")
    with brought_up(platform, "tls.log") as running:
        program = (
            "import ssl, urllib.request as r; c = ssl._create_unverified_context(); "
            "print(r.urlopen('https://pebble:15000/roots/0', context=c).read().decode())"
        )
        running.trust(running.inside("worker", "/opt/venv/bin/python", "-c", program))
        running.shown()
        running.stop_schedules()
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    rules = next(one for one in CHROMIUM if one.startswith("--host-resolver-rules="))
    arguments = [one for one in CHROMIUM if one != rules]
    # Which certificate it is, tests above look at.
    arguments += [f"{rules}, MAP {HOST} 127.0.0.1", "--ignore-certificate-errors"]
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def test_certificate_of_an_acme_server_is_got_and_renewed(tls: TlsPlatform) -> None:
    first = tls.shown()
    assert ("DNS", HOST) in first["subjectAltName"]
    assert tls.api.get("health") is True
    assert any(one["state_type"] == "COMPLETED" for one in tls.api.runs("run-yeedu-job"))  # of `make up`
    trusting = {"CA_CERT_FILE": str(tls.api.root)}
    assert any(one.startswith("ok the certificate of") for one in tls.diagnosis(**trusting))
    assert any("is not trusted by this machine" in one for one in tls.diagnosis())

    def is_new() -> bool:
        return tls.shown()["serialNumber"] != first["serialNumber"]

    wait_for("new certificate", is_new, LIFETIME_SECONDS)
    said = tls.must("docker", "compose", "logs", "--no-color", "proxy")
    assert "certificate renewed successfully" in said
    assert tls.api.get("health") is True


def test_plain_port_is_gone_and_plain_http_leads_to_https(tls: TlsPlatform) -> None:
    assert tls.must("docker", "port", tls.container("server")) == ""
    asked = f"http://127.0.0.1:{tls.http_port}/runs?a=b"
    answer = requests.get(asked, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{tls.address}/runs?a=b")


def test_proxy_is_nobody_and_can_do_nothing_beside(tls: TlsPlatform) -> None:
    status = tls.inside("proxy", "sh", "-c", "cat /proc/[0-9]*/status")
    lines = [line.split() for line in status.splitlines()]
    for name, value in (
        ("Uid:", "10001"),
        ("CapEff:", "0" * 16),
        ("CapPrm:", "0" * 16),
        ("NoNewPrivs:", "1"),
    ):
        assert {line[1] for line in lines if line[:1] == [name]} == {value}
    read_only = tls.must(
        "docker", "inspect", "--format", "{{.HostConfig.ReadonlyRootfs}}", tls.container("proxy")
    )
    assert read_only.strip() == "true"
    program = "import socket; socket.create_connection(('proxy', 2019), 5)"
    asked = ("docker", "compose", "exec", "-T", "worker", "python3", "-c", program)
    assert "ConnectionRefusedError" in tls.command(*asked).stderr


def test_guesses_of_one_address_do_not_hold_up_another(tls: TlsPlatform) -> None:
    """The login's pause counts by who comes to the proxy, and not for the proxy as a whole."""
    program = (
        "import urllib.request as r\n"
        "q = r.Request('http://proxy:4200/api/admin/version', headers={'Authorization': 'Basic YTpi'})\n"
        "for _ in range(14):\n"
        "  try: r.urlopen(q)\n"
        "  except OSError as e: print(e)\n"
    )
    said = tls.inside("yeedu-watch", "/opt/venv/bin/python", "-c", program)
    assert "401" in said
    # Whose turn has to be waited for waits for a second, each time.
    assert min(tls.api.ask("GET", "admin/version").elapsed.total_seconds() for _ in range(5)) < 1


def started(platform: ComposePlatform, name: str) -> bool:
    """Tell whether the worker of that name has said so; it says it by a websocket alone."""
    found = platform.api.post("events/filter", {"filter": {"event": {"name": ["prefect.worker.started"]}}})
    return name in [event["resource"].get("prefect.resource.name") for event in found["events"]]


def test_attached_worker_that_trusts_the_ca_runs_a_flow(tls: TlsPlatform, tmp_path: Path) -> None:
    """It is in none of the platform's networks, and has the CA by CA_CERT_FILE, as docs/tls.md says."""
    git_port, container = free_port(), f"attached-worker-{tls.port}"
    daemon = ["git", "daemon", "--verbose", "--export-all", f"--port={git_port}", "--listen=127.0.0.1"]
    daemon += [f"--base-path={tls.checkout.parent}", str(tls.checkout)]
    command = ["docker", "run", "--rm", "--network", "host", "--name", container]
    login = tls.checkout / "acme" / "login"
    login.write_text(LOGIN, encoding="utf-8")
    command += ["--add-host", f"{HOST}:127.0.0.1", "--volume", f"{login}:/run/login:ro"]
    command += ["--volume", f"{tls.api.root}:/ca.pem:ro", "--env", "CA_CERT_FILE=/ca.pem"]
    command += ["--volume", f"{tls.checkout}:/checkout:ro", image("worker")]
    command += ["python", "/checkout/worker/attach", "run", "--temporary", "--folder", "/tmp/worker"]
    command += ["--server", tls.address, "--pool", POOL, "--name", "tls-worker"]
    command += ["--environment", "/opt/venv", "--auth-string-file", "/run/login"]
    command += ["--anyway"]  # the platforms under test have no release's version
    command += ["--flows-git-url", f"git://localhost:{git_port}/{tls.checkout.name}/.git"]
    with (
        pool_of(tls),
        output_of(daemon, OUTPUT / "tls-git.log", tmp_path),
        output_of(command, OUTPUT / "tls-worker.log", tmp_path) as worker,
    ):
        await_online(tls, "tls-worker", 120)
        run_on(tls, "tls-worker")
        wait_for("event by the worker's websocket", lambda: started(tls, "tls-worker"), 60)
        tls.must("docker", "stop", "--time", "60", container)
        assert worker.wait(60) == 0


@pytest.mark.browser
def test_own_page_works_behind_https(tls: TlsPlatform, browser: Browser) -> None:
    attempt = Attempt(browser, f"{tls.address}/", f"{tls.address}/api", "own_tls", AUTHORIZATION)
    assert attempt.results["read"].startswith("200"), attempt.results
    assert attempt.results["write"].startswith("201")
    assert {result for what, result in attempt.results.items() if what.startswith("websocket")} == {"open"}


@pytest.mark.browser
def test_page_of_somebody_else_can_do_nothing_behind_https(tls: TlsPlatform, browser: Browser) -> None:
    with foreign_server() as port:
        page_address, api = f"http://attacker.example:{port}/", f"{tls.address}/api"
        attempt = Attempt(browser, page_address, api, "foreign_tls", AUTHORIZATION)
    results = {what: one for what, one in attempt.results.items() if not what.startswith("write unseen")}
    assert set(results.values()) == {"refused"}, results
    assert variables(tls, attempt.name) == []
    page = browser.new_page()
    with pytest.raises(Error, match="ERR_SSL"):  # a name that somebody points here has no certificate
        page.goto(f"https://attacker.example:{tls.port}/")
    page.close()


def test_ca_of_the_platforms_own_outlives_the_container(tls: TlsPlatform) -> None:
    tls.switch(TLS_MODE="internal")
    tls.trust(tls.inside("proxy", "/etc/proxy/start", "root"))
    first = tls.shown()
    assert tls.api.get("health") is True
    assert any(one.startswith("ok the certificate of") for one in tls.diagnosis())
    anew = ("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "--wait", "proxy")
    tls.must("docker", "compose", *anew)
    assert tls.shown()["serialNumber"] == first["serialNumber"]


def test_files_of_ones_own_are_taken_and_taken_again(tls: TlsPlatform) -> None:
    authority = trustme.CA()
    folder = tls.checkout / "acme"
    files = folder / "site.pem", folder / "site.key"

    def issue() -> None:
        certificate = authority.issue_cert(HOST)
        pems = certificate.cert_chain_pems[0], certificate.private_key_pem
        for pem, file in zip(pems, files, strict=True):
            file.touch()
            file.write_bytes(pem.bytes())  # in place: the container has the file, and not its name

    issue()
    files[1].chmod(0o400)
    shutil.chown(files[1], 10001, 10001)
    tls.switch(TLS_MODE="files", TLS_CERT_FILE="./acme/site.pem", TLS_KEY_FILE="./acme/site.key")
    tls.trust(authority.cert_pem.bytes().decode())
    first = tls.shown()
    issue()
    tls.inside("proxy", "/etc/proxy/start", "reload")
    wait_for("new certificate", lambda: tls.shown()["serialNumber"] != first["serialNumber"], 30)
    assert tls.api.get("health") is True
    key = files[1].read_text(encoding="utf-8").splitlines()[1]
    for told in (tls.must("docker", "inspect", tls.container("proxy")), tls.diagnose(10_000)):
        assert key not in told
        assert LOGIN.partition(":")[2] not in told
