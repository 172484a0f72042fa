"""What a flow run gets from repositories as teams have them, with Prefect's own step."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect_processes import commit, git

from tests.git_hosts import ACCEPTS, TOKEN, Host, git_host
from tests.tls_server import private_authority
from yeedu_worker.checkouts.snapshots import Snapshots
from yeedu_worker.git.addresses import Address, logins_of_token
from yeedu_worker.git.remote import Remote, Wanted

# Prefect's storage, as its step git_clone makes it, in a process like that of a flow run.
RUN = """
import asyncio, json, os, sys
from prefect.runner.storage import GitRepository
from yeedu_worker.patches.git_clone import substitute

substitute(os.environ)
try:
    asyncio.run(GitRepository(**json.load(sys.stdin)).pull_code())
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return private_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def host(authority: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A GitLab under a name that does not say so, with the repository `flows;1`."""
    monkeypatch.setenv("GIT_SSL_CAINFO", str(authority[0]))
    commit(tmp_path / "served" / "flows;1", {"flow.py": "one = 1\n"})
    with git_host(authority[1], tmp_path / "served", "GitLab") as running:
        yield running


def pulled(folder: Path, **inputs: Any) -> "subprocess.CompletedProcess[str]":
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=folder,
        env={
            **os.environ,
            "PREFECT_HOME": str(folder.parent / "home"),
            "PREFECT__FLOW_RUN_ID": "00000000-0000-0000-0000-000000000001",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
        },
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "credentials",
    [
        {"access_token": f"oauth2:{TOKEN}"},
        {"access_token": TOKEN},
        {"username": "me", "access_token": TOKEN},
        {"token": TOKEN, "url": "https://git.example.com"},
    ],
    ids=["user and token", "token", "dictionary", "block"],
)
def test_credentials_of_a_step_are_sent_as_the_host_takes_them(
    host: Host, tmp_path: Path, credentials: dict[str, str]
) -> None:
    done = pulled(tmp_path / "run", url=f"{host.url}/flows;1", credentials=credentials, name="x")
    assert done.returncode == 0, done.stderr
    assert host.accepts
    assert host.accepts(*host.asked[-1])
    origin = git(tmp_path / "run" / "x", "remote", "get-url", "origin")
    assert origin.endswith(f":{TOKEN}@{host.url.removeprefix('https://')}/flows;1")
    assert git(tmp_path / "run" / "x", "ls-remote", "origin", "HEAD"), "git in the flow run can go on"
    kept = [file for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert kept
    assert not [file for file in kept if TOKEN.encode() in file.read_bytes()]


def test_login_that_a_host_took_is_tried_first_the_next_time(host: Host, tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "kept", 1024 * 1024)
    logins = logins_of_token(TOKEN, "git.example.com")
    remote = Remote(Address.of(f"{host.url}/flows;1"), os.environ, logins)
    for wrong in (1, 0):
        host.asked.clear()
        snapshots.accepted(remote, "main")
        assert [user for user, _ in host.asked].count(TOKEN) == wrong
    host.accepts = ACCEPTS["Bitbucket"]
    assert snapshots.accepted(remote, "main")[0].logins == logins[2:]
    assert snapshots.accepted(remote, "main")[0].logins == logins[2:]


def test_refusal_is_one_sentence_in_the_run(host: Host, tmp_path: Path) -> None:
    url = f"{host.url}/flows;1"
    refused = pulled(tmp_path / "run", url=url, credentials={"access_token": "oauth2:canary-wrong"})
    assert refused.stderr.splitlines()[-1] == (
        f"RuntimeError: The git repository {url} refused the credential; "
        "check that it is valid and may read the repository."
    )
    assert "canary-wrong" not in refused.stderr


def test_submodules_and_a_warning_of_lfs_come_with_a_run(host: Host, tmp_path: Path) -> None:
    at = commit(tmp_path / "served" / "common", {"shared.py": "x = 1\n"})
    flows = tmp_path / "served" / "flows;1"
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064d}\nsize 1024\n"
    module = '[submodule "common"]\n\tpath = common\n\turl = ../common\n'
    commit(flows, {"a.csv": pointer, ".gitattributes": "*.csv filter=lfs -text\n", ".gitmodules": module})
    git(flows, "update-index", "--add", "--cacheinfo", f"160000,{at},common")
    git(flows, "commit", "--quiet", "--message", "Module")
    url, credentials = f"{host.url}/flows;1", {"access_token": f"oauth2:{TOKEN}"}
    for name in ("with", "pinned"):
        pin = {"commit_sha": git(flows, "rev-parse", "HEAD")} if name == "pinned" else {}
        done = pulled(
            tmp_path / "run", url=url, credentials=credentials, name=name, include_submodules=True, **pin
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "run" / name / "common" / "shared.py").exists()
        assert "WARNING" in done.stderr
        assert "1 file(s) of the clone are pointers of git LFS, not their contents (a.csv)" in done.stderr
    for name in ("fetched", "copied"):
        done = pulled(tmp_path / "run", url=url, credentials=credentials, name=name)
        assert "pointers of git LFS" in done.stderr


def test_directories_of_a_commit_are_a_snapshot_of_their_own(host: Host, tmp_path: Path) -> None:
    flows = tmp_path / "served" / "flows;1"
    at = commit(flows, {"a/b.py": "", "c/d.py": ""})
    remote = Remote(Address.of(flows.as_uri()), os.environ)
    snapshots = Snapshots(tmp_path / "kept", 1024 * 1024)
    for number, directories in enumerate([("a",), ("c",), ("a",)]):
        target = tmp_path / str(number)
        snapshots.check_out(remote, remote.revision(at), Wanted(directories), target)
        assert [file.name for file in target.glob("*/*.py")] == ["b.py" if "a" in directories else "d.py"]


def test_run_without_room_for_its_clone_is_told_so_and_leaves_nothing(tmp_path: Path) -> None:
    """A real full disk, of half a megabyte: needs a user namespace, or root."""
    commit(tmp_path / "source", {"large": os.urandom(600_000).hex()})
    (tmp_path / "run").mkdir()
    inputs = json.dumps({"url": (tmp_path / "source").as_uri(), "name": "x"})
    script = (
        f'mount -t tmpfs -o size=512k none "$RUN" && cd "$RUN" && echo \'{inputs}\' | "$PYTHON" -c "$CODE"; '
        'code=$?; find "$RUN/x" -mindepth 1; exit $code'
    )
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        env={
            **os.environ,
            "RUN": str(tmp_path / "run"),
            "PYTHON": sys.executable,
            "CODE": RUN,
            "PREFECT_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no tmpfs can be mounted here")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"RuntimeError: The clone does not fit: no space is left in {tmp_path / 'run' / 'x'}."
    )
    assert done.stdout == ""
