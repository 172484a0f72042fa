"""What passes through the proxy, and what it does when an API server does not answer."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import trustme
import websocket

from proxy.tests.running import HOST, SECONDS, Api, Proxy, running
from server.body_limit import MAX_BYTES
from tests.platforms import free_port, wait_for

pytestmark = pytest.mark.caddy
CANARY = "canary-of-the-log"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with Api() as api:
        yield api


@pytest.fixture(scope="module")
def proxy(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with a CA of its own before one server."""
    folder = tmp_path_factory.mktemp("proxy")
    with running(folder, PROXY_UPSTREAM=f"127.0.0.1:{api.port}", TLS_MODE="internal") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(proxy: Proxy) -> Iterator[httpx.Client]:
    with proxy.client(proxy.root()) as client:
        yield client


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"TLS_MODE": "selfsigned"}, "TLS_MODE=selfsigned: set it to acme, internal or files"),
        (
            {"TLS_MODE": "acme", "PREFECT_UI_URL": f"http://{HOST}"},
            f"PREFECT_UI_URL=http://{HOST}: with TLS, set it",
        ),
        ({"TLS_MODE": "acme", "PREFECT_UI_URL": "https://:8443"}, "PREFECT_UI_URL has no host"),
        ({"PROXY_REPLICAS": "0"}, "PROXY_REPLICAS=0 is not a number of servers"),
        ({"PROXY_REPLICAS": "two"}, "PROXY_REPLICAS=two is not a number of servers"),
        ({"TLS_MODE": "files"}, "TLS_CERT_FILE: the user"),
    ],
)
def test_wrong_setting_is_one_sentence(tmp_path: Path, environment: dict[str, str], sentence: str) -> None:
    done = Proxy(tmp_path, environment).run()
    assert done.returncode == 1
    assert done.stderr.startswith(f"proxy: {sentence}")
    assert len(done.stderr.splitlines()) == 1


def test_every_mode_starts_before_one_server_and_before_several(tmp_path: Path) -> None:
    """`acme` asks a port here that nobody listens on: it serves http meanwhile, and tries again."""
    directory = f"https://127.0.0.1:{free_port()}/dir"
    for mode in ("off", "acme", "internal"):
        for upstream in ("127.0.0.1:9", "127.0.0.1:9 127.0.0.1:10"):
            folder = tmp_path / f"{mode}-{len(upstream)}"
            folder.mkdir()
            settings = {"TLS_MODE": mode, "PROXY_UPSTREAM": upstream, "TLS_ACME_DIRECTORY": directory}
            with running(folder, **settings) as proxy:
                with socket.create_connection(("127.0.0.1", proxy.port), SECONDS):
                    pass
                assert '"level":"warn","logger":"caddyfile"' not in proxy.log()


def test_replicas_are_the_containers_of_that_name(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, {"PROXY_UPSTREAM": "project-server:4200", "PROXY_REPLICAS": "3"})
    routes = adapted(proxy)["apps"]["http"]["servers"]["srv0"]["routes"]
    [found] = [one for route in routes for one in route["handle"] if one["handler"] == "reverse_proxy"]
    assert [one["dial"] for one in found["upstreams"]] == [f"project-server-{n}:4200" for n in (1, 2, 3)]
    assert found["health_checks"]["active"]["uri"] == "/api/ready"


def adapted(proxy: Proxy) -> dict[str, Any]:
    """Return the proxy's configuration, by a program in the place of Caddy that has Caddy show it."""
    shown = proxy.files / "caddy"
    shown.write_text('#!/bin/sh\nshift\nexec env PATH="$CADDY_PATH" caddy adapt "$@"\n', encoding="utf-8")
    shown.chmod(0o755)
    path = proxy.environment["PATH"]
    environment = {**proxy.environment, "PATH": f"{proxy.files}:{path}", "CADDY_PATH": path}
    command = ["sh", str(proxy.files / "start")]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=SECONDS
    )
    return json.loads(done.stdout)


def test_nobody_but_the_container_itself_can_steer_it(proxy: Proxy) -> None:
    assert adapted(proxy)["admin"]["listen"].startswith("unix/")


def test_host_origin_and_login_pass_as_they_are(proxy: Proxy, api: Api, client: httpx.Client) -> None:
    """server/guard.py and server/login.py judge them; the address of who asks is the proxy's own word."""
    sent = {
        "Host": f"{HOST}:8443",
        "Origin": "https://elsewhere.example",
        "Authorization": "Basic YWRtaW46YQ==",
        "Sec-Fetch-Site": "cross-site",
        "Cookie": "a=b",
        "X-Forwarded-For": "192.0.2.7",
    }
    got = dict(client.get("/api/x?a=%20b&token=c", headers=sent).json()["headers"])
    assert api.asked[-1][1] == "/api/x"
    for name in ("Host", "Origin", "Authorization", "Sec-Fetch-Site", "Cookie"):
        assert got[name.lower()] == sent[name]
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-proto"] == "https"


def test_answer_is_passed_on_unpacked_where_nobody_asked_for_less(proxy: Proxy, api: Api) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n")
        while connection.recv(65536):
            pass
    assert "accept-encoding" not in dict(api.asked[-1][2])


def test_https_speaks_http_2_and_is_to_be_kept_to(client: httpx.Client) -> None:
    answer = client.get("/api/x")
    assert answer.http_version == "HTTP/2"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize("url", ["https://localhost:8443", "https://buildhost", "https://yeedu.localhost"])
def test_names_of_this_machine_are_not_kept_to_https(tmp_path: Path, url: str) -> None:
    """A browser would then ask every other port of that name for https as well."""
    proxy = Proxy(tmp_path, {"PREFECT_UI_URL": url, "TLS_MODE": "internal"})
    assert "Strict-Transport-Security" not in json.dumps(adapted(proxy))


def test_plain_http_leads_to_the_address_that_users_type(proxy: Proxy) -> None:
    asked = f"http://127.0.0.1:{proxy.redirects}/runs?a=b"
    answer = requests.get(asked, headers={"Host": "attacker.example"}, allow_redirects=False, timeout=SECONDS)
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://{HOST}/runs?a=b"


def test_websocket_passes_on_every_path(proxy: Proxy, client: httpx.Client) -> None:
    for path in ("/api/events/in", "/api/work_pools/yeedu-pool/workers/connect"):
        opened = websocket.create_connection(
            f"ws://127.0.0.1:{proxy.port}{path}", subprotocols=["prefect"], timeout=SECONDS
        )
        opened.send("hello")
        assert opened.recv() == "hello"
        assert opened.subprotocol == "prefect"
        opened.close()


def test_stream_is_not_held_back(proxy: Proxy, api: Api) -> None:
    with requests.get(f"{proxy.url}/stream", stream=True, timeout=SECONDS) as answer:
        parts = answer.iter_content(chunk_size=None)
        assert next(parts) == b"first;"
        api.go_on.set()
        assert b"".join(parts) == b"second"


def test_body_may_be_as_long_as_the_server_takes(proxy: Proxy) -> None:
    fits = requests.post(f"{proxy.url}/api/x", data=b"x" * MAX_BYTES, timeout=SECONDS)
    assert fits.json()["size"] == MAX_BYTES
    refused = requests.post(f"{proxy.url}/api/x", data=b"x" * (MAX_BYTES + 1), timeout=SECONDS)
    assert refused.status_code == 413
    assert refused.json() == {"exception_message": "A request may have 16 MiB at most"}


def test_server_that_is_started_again_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, PROXY_UPSTREAM=f"127.0.0.1:{port}") as proxy, ThreadPoolExecutor() as pool:
        asked = pool.submit(requests.get, f"{proxy.url}/api/x", timeout=SECONDS)
        with Api(port):
            assert asked.result().status_code == 200


def test_request_that_a_server_took_is_not_repeated(proxy: Proxy, api: Api) -> None:
    """It may have done what was asked: the client decides."""
    api.asked.clear()
    api.breaks = True
    try:
        answer = requests.post(f"{proxy.url}/api/flow_runs/", json={}, timeout=SECONDS)
    finally:
        api.breaks = False
    assert answer.status_code == 502
    assert answer.headers["Retry-After"] == "2"
    assert len(api.asked) == 1


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Proxy, Api, Api]]:
    with Api() as first, Api() as second:
        upstreams = f"127.0.0.1:{first.port} 127.0.0.1:{second.port}"
        with running(tmp_path, PROXY_UPSTREAM=upstreams) as proxy:
            yield proxy, first, second


def answers_of(proxy: Proxy, count: int, body: str = "") -> list[int]:
    """Ask at once as often, and return which servers answered.

    What has a body is asked again after a 502, as Prefect's clients do: before 2.11.2, Caddy does not try the
    next server with it.
    """

    def ask(_: int) -> int:
        def answer() -> requests.Response | None:
            method = "POST" if body else "GET"
            found = requests.request(method, f"{proxy.url}/api/x", data=body or None, timeout=SECONDS)
            return None if body and found.status_code == 502 else found

        found = wait_for("answer", answer, SECONDS)
        assert found.status_code == 200, found.text
        return int(found.json()["port"])

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, range(count)))


@pytest.mark.parametrize("body", ["", "{}"], ids=["reading", "changing"])
def test_servers_share_the_requests_and_a_dead_one_costs_none(two: tuple[Proxy, Api, Api], body: str) -> None:
    proxy, first, second = two
    assert set(answers_of(proxy, 80, body)) == {first.port, second.port}
    first.stop()  # nobody has told the proxy
    assert set(answers_of(proxy, 80, body)) == {second.port}


def test_server_that_is_not_ready_is_left_out_until_it_is(two: tuple[Proxy, Api, Api]) -> None:
    proxy, first, second = two
    first.is_ready = False
    checks = first.checks
    wait_for("check", lambda: first.checks > checks + 1, SECONDS)
    assert set(answers_of(proxy, 40)) == {second.port}
    first.is_ready = True
    wait_for("first server again", lambda: first.port in answers_of(proxy, 20), SECONDS)


def test_none_that_is_ready_is_told_in_a_sentence(two: tuple[Proxy, Api, Api]) -> None:
    proxy, first, second = two
    first.is_ready = second.is_ready = False
    checks = first.checks, second.checks
    wait_for("checks", lambda: min(first.checks - checks[0], second.checks - checks[1]) > 1, SECONDS)
    answer = requests.get(f"{proxy.url}/api/x", timeout=SECONDS)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["Prefect-Maintenance"] == "true"
    assert answer.json() == {"exception_message": "No API server answers; try again in a moment"}


def test_reload_takes_new_files_and_breaks_off_no_request(tmp_path: Path, api: Api) -> None:
    authority = trustme.CA()

    def issue() -> None:
        made = authority.issue_cert(HOST)
        made.cert_chain_pems[0].write_to_path(tmp_path / "tls-certificate")
        made.private_key_pem.write_to_path(tmp_path / "tls-key")

    def shown(proxy: Proxy) -> str:
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        with (
            socket.create_connection(("127.0.0.1", proxy.tls_port), SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as encrypted,
        ):
            return str((encrypted.getpeercert() or {})["serialNumber"])

    issue()
    api.go_on.clear()
    with running(tmp_path, PROXY_UPSTREAM=f"127.0.0.1:{api.port}", TLS_MODE="files") as proxy:
        first = shown(proxy)
        with requests.get(f"{proxy.url}/stream", stream=True, timeout=SECONDS) as answer:
            parts = answer.iter_content(chunk_size=None)
            assert next(parts) == b"first;"
            issue()
            done = proxy.run("reload")
            assert done.returncode == 0, done.stderr
            assert shown(proxy) != first
            api.go_on.set()
            assert b"".join(parts) == b"second"


def test_nothing_secret_is_in_the_log(tmp_path: Path) -> None:
    """Not even in one that notes each request, as whoever looks for a fault would have it."""
    with Api() as api:
        proxy = Proxy(tmp_path, {"PROXY_UPSTREAM": f"127.0.0.1:{api.port}"})
        caddyfile = proxy.files / "Caddyfile"
        text = caddyfile.read_text(encoding="utf-8")
        caddyfile.write_text(text.replace("log default {", "log default {\n level DEBUG"), encoding="utf-8")
        headers = {"Authorization": f"Basic {CANARY}", "Cookie": CANARY, "X-Api-Key": CANARY}
        with proxy:
            for path in (f"/api/x?token={CANARY}", f"/api/y?{CANARY}"):
                assert requests.post(f"{proxy.url}{path}", headers=headers, timeout=SECONDS).ok
            api.breaks = True
            broken = requests.post(f"{proxy.url}/api/z?t={CANARY}", headers=headers, timeout=SECONDS)
            assert broken.status_code == 502
    assert all(f'"uri":"/api/{name}"' in proxy.log() for name in "xyz")
    assert CANARY not in proxy.log()
