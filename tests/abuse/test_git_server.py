"""git-server: what somebody who reaches it may read of a checkout."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from local.script import load_script
from tests.abuse.floods import answer, flood
from tests.git_server_image import HARDENED, Server, docker, image_built, started
from tests.platforms import wait_for

GIT_SERVER = Path(__file__).parents[2] / "git-server"
APART = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
ADA = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]


def git(where: Path, *arguments: str) -> str:
    """Run git apart from the settings of whoever runs the tests."""
    command = ["git", "-C", str(where), *ADA, *arguments]
    environment = {"PATH": os.environ["PATH"], **APART}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"git {' '.join(arguments)}: {result.stderr}"
    return result.stdout.strip()


@pytest.fixture(scope="session")
def snapshot() -> ModuleType:
    """The module snapshot.py, which is a script beside a Dockerfile rather than a package."""
    return load_script(GIT_SERVER / "snapshot.py")


LEFT_LYING = [
    *(
        "yeedu-password",
        "id_rsa",
        "prod.env",
        ".envrc",
        ".ENV",
        ".env",
        ".env.local",
        "flows/.env",
        "flows/id_rsa",
    ),
    *("flows/prod.env", "flows/.ENV", "flows/notes", "notes.txt"),
]


@pytest.mark.tries("reads files of a checkout that were never committed")
@pytest.mark.parametrize(
    "shape", ["downloaded archive", "no commit yet", "commits", "commits of another owner"]
)
def test_a_clone_has_nothing_that_only_lies_there(snapshot: ModuleType, tmp_path: Path, shape: str) -> None:
    checkout, served = tmp_path / "checkout", tmp_path / "flows.git"
    (checkout / "flows").mkdir(parents=True)
    (checkout / "flows" / "flow.py").touch()
    if shape != "downloaded archive":
        git(checkout, "init", "--quiet", "--initial-branch=main")
        git(checkout, "add", "flows/flow.py")
    if shape.startswith("commits"):
        git(checkout, "commit", "--quiet", "--message", "One")
    for name in LEFT_LYING:
        (checkout / name).write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    if shape != "downloaded archive":
        git(checkout, "add", "--force", "yeedu-password", "flows/notes")  # and still not committed
    if shape == "commits of another owner":
        snapshot.take_snapshot(checkout, served)  # as for local processes
    else:
        snapshot.publish(checkout, served)
    git(tmp_path, "clone", "--quiet", f"file://{served}", "clone")
    assert git(tmp_path / "clone", "ls-files") == "flows/flow.py"


class Served(NamedTuple):
    """A checkout, served by a container, and ids of what is in it."""

    server: Server
    checkout: Path
    public: dict[str, str]
    private: dict[str, str]


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with image_built() as tag:
        yield tag


@pytest.fixture(scope="module")
def served(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A checkout with a history, an annotated tag, a stash, and commits that were dropped."""
    checkout = tmp_path_factory.mktemp("served")
    for folder in (checkout, *checkout.parents[:2]):
        folder.chmod(0o755)  # the container's user is another
    git(checkout, "init", "--quiet", "--initial-branch=main")
    for number in range(3):
        (checkout / "flow.py").write_text(f"print({number})")
        git(checkout, "add", "flow.py")
        git(checkout, "commit", "--quiet", "--message", str(number))
    git(checkout, "tag", "--annotate", "v1", "--message=kept", "HEAD~1")
    git(checkout, "tag", "--annotate", "gone", "--message=dropped", "HEAD~1")
    (checkout / "flow.py").write_text("print('stashed')")
    git(checkout, "stash", "--quiet")
    (checkout / "flow.py").write_text("PASSWORD = 'hunter2'")
    git(checkout, "commit", "--quiet", "--all", "--message", "a secret, by mistake")
    secret = git(checkout, "rev-parse", "HEAD")
    git(checkout, "reset", "--quiet", "--hard", "HEAD~1")
    private = {
        "a stash": git(checkout, "rev-parse", "refs/stash"),
        "a stash's folder": git(checkout, "rev-parse", "refs/stash^{tree}"),
        "a dropped commit": secret,
        "a file of a dropped commit": git(checkout, "rev-parse", f"{secret}:flow.py"),
        "a deleted tag": git(checkout, "rev-parse", "gone"),
    }
    git(checkout, "tag", "--delete", "gone")
    public = {
        name: git(checkout, "rev-parse", revision)
        for name, revision in {
            "an old commit": "HEAD~2",
            "an old folder": "HEAD~2^{tree}",
            "an old file": "HEAD~2:flow.py",
            "a tag": "v1",
        }.items()
    }
    with started(image, checkout, *HARDENED) as server:
        server.wait_until_healthy()
        yield Served(server, checkout, public, private)


@pytest.mark.docker
@pytest.mark.tries("asks git-server for a stash, a dropped commit or a file of one by its id")
@pytest.mark.parametrize("protocol", ["2", "1", "0"])
def test_what_no_branch_leads_to_is_refused(served: Served, tmp_path: Path, protocol: str) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "protocol.version", protocol)
    for name, wanted in served.private.items():
        with pytest.raises(AssertionError, match=f"no branch or tag leads to {wanted}|not our ref"):
            git(tmp_path, "fetch", "--quiet", served.server.url, wanted)
        assert not is_there(tmp_path, wanted), name
    for wanted in served.public.values():
        git(tmp_path, "fetch", "--quiet", served.server.url, wanted)
        assert is_there(tmp_path, wanted)


@pytest.mark.docker
@pytest.mark.tries("asks git-server for a private object together with many that are public")
def test_one_private_object_among_public_ones_is_refused(served: Served, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(AssertionError, match="no branch or tag leads to"):
        git(
            tmp_path,
            "fetch",
            "--quiet",
            served.server.url,
            *served.public.values(),
            served.private["a stash"],
        )


POST = "POST /flows.git/git-upload-pack HTTP/1.1\r\nHost: a\r\nContent-Length: "


@pytest.mark.docker
@pytest.mark.tries("sends git-server endless headers and bodies over a hundred connections")
@pytest.mark.parametrize(
    ("head", "refused", "megabytes"),
    [
        ("GET /flows.git/info/refs HTTP/1.1\r\nHost: a\r\nX: ", b"431", 50),
        ("GET /flows.git/info/refs?x=", b"431", 50),
        (f"{POST}30000000\r\n\r\n", b"413", 50),
        (f"{POST}4000000\r\n\r\n", b"", 250),  # as large as is allowed, and never whole
    ],
    ids=["header", "address", "large body", "slow body"],
)
def test_each_connection_costs_little(served: Served, head: str, refused: bytes, megabytes: int) -> None:
    with flood(served.server.port, 100, head.encode() + b"a" * 3_000_000) as connections:
        assert memory_of(served.server) < megabytes * 1_000_000
        wait_for("healthy server", lambda: served.server.check_health().returncode == 0, 60)
        if refused:
            assert {text.split()[1] for one in connections if (text := answer(one))} == {refused}
    assert docker("inspect", "--format={{.State.OOMKilled}}", served.server.container).stdout == "false\n"


@pytest.mark.docker
@pytest.mark.tries(
    "holds all connections to git-server open without ever ending a request",
    admits="Whoever reaches git-server can keep it busy",
)
def test_all_connections_can_be_held(served: Served) -> None:
    head = b"GET /flows.git/info/refs HTTP/1.1\r\nHost: a\r\nX: "

    def is_kept_busy() -> bool:
        """Ask while the connections are open: a check that comes late finds them closed."""
        with flood(served.server.port, 200, head):
            return served.server.check_health().returncode == 1

    wait_for("unhealthy server", is_kept_busy, 100)
    served.server.wait_until_healthy()


@pytest.mark.docker
@pytest.mark.tries("starts a hundred clones at once")
def test_a_hundred_clones_at_once_all_come_through(served: Served, tmp_path: Path) -> None:
    gone_wrong: list[str] = []

    def clone(number: int) -> None:
        try:
            git(tmp_path, "clone", "--quiet", "--depth=1", served.server.url, str(number))
        except AssertionError as error:
            gone_wrong.append(str(error))

    threads = [threading.Thread(target=clone, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gone_wrong == []


def is_there(repository: Path, wanted: str) -> bool:
    """Return whether a repository has an object."""
    command = ["git", "-C", str(repository), "cat-file", "-e", wanted]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def memory_of(server: Server) -> int:
    """Return the bytes that a container has: its processes', and those of files in memory."""
    both = "cat /sys/fs/cgroup/memory.stat 2>/dev/null || cat /sys/fs/cgroup/memory/memory.stat"
    counted = docker("exec", server.container, "sh", "-c", both).stdout  # of either version of cgroups
    rows = dict(line.split() for line in counted.splitlines())
    names = ("anon", "shmem") if "anon" in rows else ("total_rss", "total_shmem")
    return sum(int(rows[name]) for name in names)
