"""Each check, against a server that answers over HTTP, and real git repositories."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from attach import checks
from attach.checks import NOTE, OK, WRONG, Finding, check_all
from attach.requirement_locks import digest
from attach.server import Server
from attach.settings import Settings

POOL = {"name": "yeedu-pool", "type": "process", "is_paused": False}
OTHER_POOL = {"name": "kubernetes-pool", "type": "kubernetes", "is_paused": False}


class Answers(BaseHTTPRequestHandler):
    """Answers what the test says, by method and path."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.server.answers.get(f"{self.command} {self.path}", (404, {"detail": "Not Found"}))  # type: ignore[attr-defined]
        if (
            self.server.login
            and self.headers.get("Authorization") != self.server.login
            and "ready" not in self.path
        ):  # type: ignore[attr-defined]
            status, body = 401, {"exception_message": "Unauthorized"}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.server.skew, usegmt=True))  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class FakeServer(ThreadingHTTPServer):
    """A Prefect server as far as the checks ask; tests change its answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.login = ""
        self.skew = timedelta()
        self.answers: dict[str, tuple[int, Any]] = {
            "GET /api/ready": (200, {"message": "OK"}),
            "GET /api/admin/version": (200, "3.8.8"),
            "GET /api/work_pools/yeedu-pool": (200, POOL),
            "GET /api/work_pools/kubernetes-pool": (200, OTHER_POOL),
            "POST /api/work_pools/filter": (200, [POOL, OTHER_POOL]),
            "GET /healthCheck": (200, {}),
            "GET /api/health/services": (200, {"platform": "0.1.0"}),
        }

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    checkout = tmp_path / "checkout"
    for name in ("requirements/extras/etl.txt", "flows/requirements.txt"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    (checkout / "requirements" / "flows.txt").write_text(f"# (digest {digest(checkout)})\n")
    (checkout / "docker-compose.yaml").write_text("image: x:${PLATFORM_VERSION:-0.1.0}\n")
    file = checkout / "requirements" / "worker.txt"
    file.write_text("prefect-github==0.4.4 \\\n    --hash=x\nprefect==3.8.8 \\\n    --hash=x\n")
    return file


@pytest.fixture
def flows(tmp_path: Path) -> str:
    """The address of a repository with one commit, on its branch main."""
    folder = tmp_path / "flows"
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for command in (
        ["init", "--quiet", "--initial-branch=main", str(folder)],
        [*author, "-C", str(folder), "commit", "--quiet", "--allow-empty", "--message", "Start"],
    ):
        subprocess.run(["git", *command], check=True)
    return folder.as_uri()


def found(
    fake: FakeServer, lock: Path, flows: str, auth_string: str = "", **changes: Any
) -> dict[str, Finding]:
    """Return what each check finds, by its name."""
    url = f"{fake.address}/api"
    settings = Settings(
        **{
            "server": url,
            "pool": "yeedu-pool",
            "name": "box",
            "flows_git_url": flows,
            "yeedu_url": fake.address,
        }
        | changes
    )
    findings = list(check_all(settings, Server(settings.server, auth_string), lock, os.environ))
    assert all("\n" not in finding.text for finding in findings)
    return {finding.check: finding for finding in findings}


def test_everything_is_right(fake: FakeServer, lock: Path, flows: str) -> None:
    findings = found(fake, lock, flows)
    assert {name: finding.status for name, finding in findings.items()} == dict.fromkeys(
        (
            "python",
            "packages",
            "git",
            "server",
            "login",
            "version",
            "platform",
            "pool",
            "clock",
            "flows",
            "yeedu",
        ),
        OK,
    )


def test_packages_are_named_before_they_are_installed(fake: FakeServer, lock: Path, flows: str) -> None:
    assert found(fake, lock, flows)["packages"].text == "requirements/worker.txt"
    with_extra = found(fake, lock, flows, extras="etl")["packages"]
    assert with_extra.text == "requirements/worker.txt and requirements/extras/etl.txt"
    unknown = found(fake, lock, flows, extras="elt")["packages"]
    assert (unknown.status, unknown.text) == (WRONG, "there is no extra 'elt'; requirements/extras/ has: etl")
    assert "packages" not in found(fake, lock, flows, environment="/opt/venv", extras="elt")


def test_queues_that_the_pool_does_not_have_yet_are_told(fake: FakeServer, lock: Path, flows: str) -> None:
    queues = [{"name": "default"}, {"name": "staging"}]
    fake.answers["POST /api/work_pools/yeedu-pool/queues/filter"] = (200, queues)
    there = found(fake, lock, flows, work_queues="staging")["queues"]
    assert (there.status, there.text) == (OK, "staging of 'yeedu-pool', and no other")
    new = found(fake, lock, flows, work_queues="stagin,staging")["queues"]
    assert new.status == NOTE
    assert new.text == (
        "'yeedu-pool' gets the new queue stagin: it has default, staging; is that the one you mean?"
    )


def test_unreachable_server_leaves_out_what_only_it_can_tell(
    fake: FakeServer, lock: Path, flows: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        findings = found(fake, lock, flows, server=f"http://127.0.0.1:{unused.getsockname()[1]}/api")
    assert findings["server"].status == WRONG
    assert "nothing answers there" in findings["server"].text
    assert findings.keys() == {"python", "packages", "git", "server", "flows", "yeedu"}


def test_host_name_that_does_not_resolve(fake: FakeServer, lock: Path, flows: str) -> None:
    finding = found(fake, lock, flows, server="http://no-such-host.invalid/api")["server"]
    assert (finding.status, "does not resolve" in finding.text) == (WRONG, True)


def test_https_address_of_a_server_without_tls(fake: FakeServer, lock: Path, flows: str) -> None:
    finding = found(fake, lock, flows, server=f"https://127.0.0.1:{fake.server_port}/api")["server"]
    assert finding.status == WRONG
    assert "http://" in finding.text


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((503, {}), "is not ready"),
        ((404, b"<html>"), "no Prefect server's answer"),
        ((200, b"<html>"), "no Prefect server's answer"),
        ((403, b"<html>no</html>"), "no Prefect server's answer"),
        ((403, b"two\nlines"), "no Prefect server's answer"),
        ((403, b""), "no Prefect server's answer"),
        ((403, b"\x1b[31mno\x07\n"), r"/api answered 403: no\x07"),
    ],
)
def test_server_that_is_not_ready_or_none(
    fake: FakeServer, lock: Path, flows: str, answer: tuple[int, Any], sentence: str
) -> None:
    fake.answers["GET /api/ready"] = answer
    fake.answers["POST /api/work_pools/filter"] = answer  # which is asked where there is no /ready
    finding = found(fake, lock, flows)["server"]
    assert (finding.status, sentence in finding.text) == (WRONG, True)


def test_refusal_that_is_a_book_is_cut(fake: FakeServer, lock: Path, flows: str) -> None:
    fake.answers["GET /api/ready"] = (403, b"x" * 1000)
    assert found(fake, lock, flows)["server"].text.endswith(f"answered 403: {'x' * 300}")


@pytest.mark.parametrize(
    ("auth_string", "status", "sentence"),
    [
        ("me:right", OK, "accepted"),
        ("me:wrong", WRONG, "refuses this login"),
        ("", WRONG, "asks for a login"),
    ],
)
def test_login(
    fake: FakeServer, lock: Path, flows: str, auth_string: str, status: str, sentence: str
) -> None:
    fake.login = "Basic bWU6cmlnaHQ="
    findings = found(fake, lock, flows, auth_string)
    assert (findings["login"].status, sentence in findings["login"].text) == (status, True)
    assert not auth_string or auth_string not in str(findings)
    assert ("pool" in findings) == (status == OK)


def test_version_of_the_server_has_to_be_the_lock_files(fake: FakeServer, lock: Path, flows: str) -> None:
    fake.answers["GET /api/admin/version"] = (200, "3.9.1")
    finding = found(fake, lock, flows)["version"]
    assert finding.status == WRONG
    assert "the server has Prefect 3.9.1 and this worker 3.8.8" in finding.text


def test_version_is_that_of_the_named_environment(
    fake: FakeServer, lock: Path, flows: str, tmp_path: Path
) -> None:
    finding = found(fake, lock, flows, environment=str(tmp_path / "none"))["version"]
    assert (finding.status, "give another one" in finding.text) == (WRONG, True)


def test_missing_pool_is_told_with_those_that_are_there(fake: FakeServer, lock: Path, flows: str) -> None:
    finding = found(fake, lock, flows, pool="my pool/2")["pool"]
    assert finding.status == WRONG
    assert "one of: kubernetes-pool, yeedu-pool" in finding.text


def test_pool_of_another_type_is_refused(fake: FakeServer, lock: Path, flows: str) -> None:
    finding = found(fake, lock, flows, pool="kubernetes-pool")["pool"]
    assert (finding.status, "of type kubernetes" in finding.text) == (WRONG, True)


def test_paused_pool_is_told_and_no_hindrance(fake: FakeServer, lock: Path, flows: str) -> None:
    fake.answers["GET /api/work_pools/yeedu-pool"] = (200, {**POOL, "is_paused": True})
    assert found(fake, lock, flows)["pool"].status == NOTE


@pytest.mark.parametrize(("seconds", "way"), [(300, "behind"), (-300, "ahead of")])
def test_clock_that_differs_by_minutes(
    fake: FakeServer, lock: Path, flows: str, seconds: int, way: str
) -> None:
    fake.skew = timedelta(seconds=seconds)
    finding = found(fake, lock, flows)["clock"]
    assert (finding.status, way in finding.text) == (WRONG, True)


def test_flows_branch_and_missing_branch(fake: FakeServer, lock: Path, flows: str) -> None:
    assert found(fake, lock, flows, flows_git_ref="main")["flows"].status == OK
    missing = found(fake, lock, flows, flows_git_ref="other")["flows"]
    assert (missing.status, "no branch or tag 'other'" in missing.text) == (WRONG, True)


@pytest.mark.parametrize("url", ["", "--upload-pack=touch x", "file:///no/such/repository"])
def test_flows_address_that_git_cannot_read(fake: FakeServer, lock: Path, url: str) -> None:
    finding = found(fake, lock, url)["flows"]
    assert (finding.status, "--flows-git-url" in finding.text) == (WRONG, True)


def test_refused_login_of_flows_is_not_shown(fake: FakeServer, lock: Path) -> None:
    fake.login = "Basic other"
    url = f"http://me:canary-token@127.0.0.1:{fake.server_port}/flows.git"
    finding = found(fake, lock, url)["flows"]
    assert finding.status == WRONG
    assert "refused the credential" in finding.text
    assert "canary-token" not in finding.text


@pytest.mark.parametrize("suffix", ["", "/", "/healthCheck"])
def test_yeedu_is_asked_for_its_health(fake: FakeServer, lock: Path, flows: str, suffix: str) -> None:
    assert found(fake, lock, flows, yeedu_url=fake.address + suffix)["yeedu"].status == OK


def test_yeedu_that_is_something_else_or_not_given(fake: FakeServer, lock: Path, flows: str) -> None:
    fake.answers["GET /healthCheck"] = (404, {})
    assert found(fake, lock, flows)["yeedu"].status == WRONG
    assert found(fake, lock, flows, yeedu_url="")["yeedu"].status == NOTE
    assert found(fake, lock, flows, yeedu_url="yeedu:8080")["yeedu"].status == WRONG


def test_missing_venv_module_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert checks.check_python(make_environment=True).status == WRONG
    assert checks.check_python(make_environment=False).status == OK


def test_missing_git_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks.check_git().status == WRONG


@pytest.mark.parametrize(
    ("servers", "own", "status"),
    [
        ("0.2.1", "0.2.1", OK),
        ("0.2.1", "0.2.0", NOTE),  # one patch release behind
        ("0.2.2", "0.2.0", WRONG),
        ("0.3.0", "0.2.9", WRONG),
        ("0.2.0", "0.2.1", WRONG),  # ahead of its server
        ("", "0.2.0", NOTE),  # Prefect's own server, or Cloud
        ("test", "test", OK),
    ],
)
def test_release_of_the_platform_may_lag_by_a_patch(
    fake: FakeServer, lock: Path, flows: str, servers: str, own: str, status: str
) -> None:
    checkout = lock.parents[1]
    (checkout / "docker-compose.yaml").write_text(f"image: x:${{PLATFORM_VERSION:-{own}}}\n")
    fake.answers["GET /api/health/services"] = (200, {"platform": servers} if servers else {})
    finding = found(fake, lock, flows)["platform"]
    assert finding.status == status, finding
    if servers != own and servers:
        assert f"git -C {checkout} checkout v{servers}`, then `install` again" in finding.text
