"""The image itself: clones over HTTP from real containers, under the limits that compose sets."""

import itertools
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.git_server_image import HARDENED, Server, docker, image_built, started

pytestmark = pytest.mark.docker

Git = Callable[..., str]
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with image_built() as tag:
        yield tag


@pytest.fixture
def start(image: str) -> Iterator[Start]:
    with ExitStack() as containers:
        yield lambda *arguments, **options: containers.enter_context(started(image, *arguments, **options))


def test_a_commit_is_in_the_next_clone_and_nothing_can_be_pushed(
    start: Start, checkout: Path, folder: Path, git: Git
) -> None:
    git(checkout, "config", "http.receivepack", "true")  # the checkout's own settings open nothing
    server = start(checkout, *HARDENED)
    server.wait_until_healthy()
    git(folder, "clone", "--quiet", "--depth=1", server.url, "one")
    assert (folder / "one" / "flows" / "hello.py").read_text() == "print('two')\n"
    (checkout / "flows" / "hello.py").write_text("print('three')\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "Three")
    git(folder, "clone", "--quiet", "--depth=1", server.url, "two")
    assert (folder / "two" / "flows" / "hello.py").read_text() == "print('three')\n"
    with pytest.raises(AssertionError, match="403"):
        git(folder / "two", "push", "--quiet", "origin", "HEAD:refs/heads/intruder")
    assert git(checkout, "branch", "--list", "intruder") == ""


def test_branches_tags_and_commit_ids_can_be_cloned_and_nothing_private_is_offered(
    start: Start, checkout: Path, folder: Path, git: Git
) -> None:
    first = git(checkout, "rev-parse", "HEAD~1")
    git(checkout, "branch", "feature", first)
    git(checkout, "tag", "v1", first)
    git(checkout, "update-ref", "refs/remotes/origin/other", first)
    (checkout / "flows" / "hello.py").write_text("stashed\n")
    git(checkout, "stash", "--quiet")
    server = start(checkout, *HARDENED)
    server.wait_until_healthy()
    offered = [line.split("\t")[1] for line in git(folder, "ls-remote", server.url).splitlines()]
    assert offered == ["HEAD", "refs/heads/feature", "refs/heads/main", "refs/tags/v1"]
    for reference in ("feature", "v1"):
        git(folder, "clone", "--quiet", "--depth=1", f"--branch={reference}", server.url, reference)
        assert git(folder / reference, "rev-parse", "HEAD") == first
    git(folder, "init", "--quiet", "by-id")
    git(folder / "by-id", "fetch", "--quiet", "--depth=1", server.url, first)
    assert git(folder / "by-id", "rev-parse", "FETCH_HEAD") == first


def test_a_shallow_checkout_at_a_detached_commit_of_no_branch_can_be_cloned(
    start: Start, checkout: Path, folder: Path, git: Git
) -> None:
    git(checkout, "update-ref", "refs/pull/1/merge", "HEAD")
    ci = folder / "ci"
    git(folder, "init", "--quiet", str(ci))
    git(
        ci,
        "fetch",
        "--quiet",
        "--depth=1",
        f"file://{checkout}",
        "+refs/pull/1/merge:refs/remotes/pull/1/merge",
    )
    git(ci, "checkout", "--quiet", "--detach", "refs/remotes/pull/1/merge")
    server = start(ci, *HARDENED)
    server.wait_until_healthy()
    for name, depth in (("shallow", ["--depth=1"]), ("whole", [])):
        git(folder, "clone", "--quiet", *depth, server.url, name)
        assert git(folder / name, "rev-parse", "HEAD") == git(ci, "rev-parse", "HEAD")
        assert (folder / name / "flows" / "hello.py").is_file()


def test_with_a_login_every_request_without_it_is_refused(
    start: Start, checkout: Path, folder: Path, git: Git
) -> None:
    (folder / "api").mkdir()
    (folder / "api" / "auth-string").write_text("admin:canary-login\n")
    server = start(checkout, *HARDENED, f"--volume={folder / 'api'}:/run/platform/api:ro")
    server.wait_until_healthy()  # it has the helper that the workers have
    services = ("git-upload-pack", "git-receive-pack")
    paths = ["", "/flows.git/HEAD", "/other", *(f"/flows.git/info/refs?service={name}" for name in services)]
    paths += [f"/flows.git/{name}" for name in services]
    for path, body in itertools.product(paths, (None, b"0000")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server.base}{path}", body, timeout=60)
        refused.value.close()
        # A push is not offered to anybody, login or not.
        assert refused.value.code == 401 or ("receive-pack" in path and refused.value.code == 403), path
    right = server.url.replace("://", "://admin:canary-login@")
    git(folder, "clone", "--quiet", "--depth=1", right, "clone")
    assert (folder / "clone" / "flows" / "hello.py").is_file()
    for wrong in ("admin:wrong", "other:canary-login", "admin:"):
        url = server.url.replace("://", f"://{wrong}@")
        for command in (["ls-remote", url], ["clone", "--quiet", url, "never"], ["fetch", url]):
            with pytest.raises(AssertionError, match=r"Authentication failed|could not read"):
                git(folder / "clone", *command)
    for url in (right, server.url):
        with pytest.raises(AssertionError, match=r"403|could not read"):
            git(folder / "clone", "push", "--quiet", url, "HEAD:refs/heads/intruder")
    assert git(checkout, "branch", "--list", "intruder") == ""
    assert "canary-login" not in server.logs()


@pytest.mark.parametrize("shape", ["archive", "linked worktree"])
def test_a_checkout_without_its_history_is_served_from_a_snapshot(
    start: Start, checkout: Path, folder: Path, git: Git, shape: str
) -> None:
    if shape == "archive":
        mounted = checkout
        (checkout / ".git").rename(folder / "elsewhere")
    else:
        mounted = folder / "worktree"
        git(checkout, "worktree", "add", "--quiet", str(mounted))
    (mounted / ".env").write_text("PASSWORD=hunter2\n")
    server = start(mounted, *HARDENED)
    server.wait_until_healthy()
    git(folder, "clone", "--quiet", "--depth=1", server.url, "clone")
    assert "flows/hello.py" in git(folder / "clone", "ls-files").splitlines()
    assert not (folder / "clone" / ".env").exists()
    told = [line for line in server.logs().splitlines() if "snapshot" in line]
    assert len(told) == 1
    assert shape in told[0]


def test_a_private_checkout_is_refused_with_its_mend_and_the_mend_works(start: Start, checkout: Path) -> None:
    if os.getuid() == 0:
        for path in (checkout, *checkout.rglob("*")):
            os.chown(path, 4321, 4322)
    checkout.chmod(0o700)
    owner = checkout.stat()
    refused = start(checkout, *HARDENED)
    assert docker("wait", refused.container, timeout_seconds=100).stdout.strip() == "1"
    sentence = refused.logs()
    mend = f"CHECKOUT_UID={owner.st_uid} and CHECKOUT_GID={owner.st_gid}"
    assert f"cannot read /checkout (owner {owner.st_uid}:{owner.st_gid}, mode 0700)" in sentence
    assert mend in sentence
    assert sentence.count("\n") == 1
    start(checkout, *HARDENED, user=f"{owner.st_uid}:{owner.st_gid}").wait_until_healthy()


def test_the_server_is_unhealthy_when_it_can_no_longer_serve(start: Start, checkout: Path) -> None:
    server = start(checkout, *HARDENED)
    server.wait_until_healthy()
    (checkout / ".git" / "HEAD").write_text("nonsense\n")
    check = server.check_health()
    assert check.returncode == 1
    assert "cannot clone http://127.0.0.1:8080/flows.git" in check.stderr


def test_it_stops_at_once_restarts_and_writes_nothing_on_the_checkout(
    start: Start, checkout: Path, git: Git
) -> None:
    server = start(checkout)  # with a writable root, as in compose, what a restart finds is there again
    server.wait_until_healthy()
    server.stop()
    ended = docker("inspect", "--format={{.State.ExitCode}}", server.container).stdout.strip()
    assert ended == "0", "it was not killed for being slow"
    docker("start", server.container)
    Server(server.container).wait_until_healthy()
    assert git(checkout, "status", "--porcelain") == "?? .env\n?? .env.example"


def test_the_access_log_has_requests_but_no_credentials_and_no_health_checks(
    start: Start, checkout: Path, folder: Path, git: Git
) -> None:
    server = start(checkout, *HARDENED)
    server.wait_until_healthy()
    with_password = server.url.replace("http://", "http://ada:hunter2@")
    git(folder, "clone", "--quiet", with_password, "clone")
    server.stop()  # lighttpd writes its access log out at the end
    logs = server.logs()
    assert "GET /flows.git/info/refs 200" in logs
    assert "POST /flows.git/git-upload-pack 200" in logs
    assert "hunter2" not in logs
    assert "127.0.0.1" not in logs


def test_nothing_but_the_fetch_protocol_is_served(start: Start, checkout: Path) -> None:
    server = start(checkout, *HARDENED)
    server.wait_until_healthy()
    paths = [
        "/",
        "/flows.git",
        "/flows.git/HEAD",
        "/flows.git/config",
        "/flows.git/../entrypoint.py",
        "/flows.git/objects/info/packs",
        "/flows.git/info/refs",
        "/flows.git/info/refs?service=git-receive-pack",
        "/other.git/info/refs?service=git-upload-pack",
    ]
    for path in paths:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(server.base + path, timeout=60)
        with caught.value as answer:
            assert answer.code in (403, 404), path


def test_a_login_of_any_characters_can_clone(start: Start, checkout: Path, folder: Path, git: Git) -> None:
    login = "admin:#a:b \\\"'%41$HOME::"
    (folder / "api").mkdir()
    (folder / "api" / "auth-string").write_text(login)
    server = start(checkout, *HARDENED, f"--volume={folder / 'api'}:/run/platform/api:ro")
    server.wait_until_healthy()  # by the helper that the workers have
    user, _, password = login.partition(":")
    git(
        folder,
        "clone",
        "--quiet",
        server.url.replace("://", f"://{user}:{quote(password, safe='')}@"),
        "clone",
    )
    with pytest.raises(AssertionError, match="Authentication failed"):
        git(folder, "ls-remote", server.url.replace("://", f"://{user}:{quote(password[:-1], safe='')}@"))


@pytest.mark.parametrize(
    "options", [[], ["--sysctl=net.ipv6.conf.all.disable_ipv6=1"]], ids=["IPv6", "IPv4 alone"]
)
def test_it_listens_by_ipv6_where_there_is_some(start: Start, checkout: Path, options: list[str]) -> None:
    server = start(checkout, *HARDENED, *options)
    server.wait_until_healthy()
    asked = docker("exec", server.container, "git", "ls-remote", "http://[::1]:8080/flows.git")
    assert (asked.returncode == 0) == (not options), asked.stderr
