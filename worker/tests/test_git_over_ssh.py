"""Addresses of ssh: a real sshd, and the settings that worker and deployer are started with."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect_processes import commit

from tests.git_hosts import SshHost, ssh_host
from yeedu_worker.git.addresses import Address
from yeedu_worker.git.reasons import GitError, Reason
from yeedu_worker.git.remote import Remote

LAUNCHER = Path(__file__).parents[2] / "server" / "with_secrets.py"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with ssh_host(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def url(host: SshHost, tmp_path: Path) -> str:
    commit(tmp_path / "flows", {"flow.py": "one = 1\n"})
    return f"{host.address}{tmp_path / 'flows'}"


def launched(
    tmp_path: Path, key: Path, known_hosts: Path, *command: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(LAUNCHER), *command],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PREFECT_HOME": str(tmp_path / "prefect home"),
            "SSH_AUTH_SOCK": "/nonexistent",
            "FLOWS_GIT_SSH_KEY_FILE": str(key),
            "FLOWS_GIT_KNOWN_HOSTS_FILE": str(known_hosts),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def reason(url: str, environment: dict[str, str]) -> Reason:
    with pytest.raises(GitError) as error:
        Remote(Address.of(url), environment).revision()
    return error.value.reason


def test_key_and_known_hosts_open_an_ssh_address(host: SshHost, url: str, tmp_path: Path) -> None:
    key = tmp_path / "as-a-secret-is-mounted"
    key.write_text(host.key.read_text().rstrip("\n"))
    key.chmod(0o444)
    assert launched(tmp_path, key, host.known_hosts, "git", "ls-remote", url, "HEAD").returncode == 0
    printed = launched(tmp_path, key, host.known_hosts, "env").stdout
    variables = dict(line.split("=", 1) for line in printed.splitlines())
    assert "FLOWS_GIT_SSH_KEY_FILE" not in variables
    assert (tmp_path / "prefect home" / "git-ssh" / "key").stat().st_mode & 0o777 == 0o600
    remote = Remote(Address.of(url), variables)
    remote.clone(remote.revision("main"), tmp_path / "clone")
    assert (tmp_path / "clone" / "flow.py").exists()


def test_unknown_host_and_refused_key_are_told_apart(host: SshHost, url: str, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    foreign = tmp_path / "foreign"
    foreign.write_text(host.known_hosts.read_text().replace("127.0.0.1", "git.example.com"))
    changed = tmp_path / "changed"
    name = host.known_hosts.read_text().split()[0]
    changed.write_text(f"{name} {(tmp_path / 'other.pub').read_text()}")
    for key, known, wanted in (
        (host.key, foreign, Reason.HOST_KEY),
        (host.key, changed, Reason.HOST_KEY),
        (tmp_path / "other", host.known_hosts, Reason.SSH_KEY),
    ):
        printed = launched(tmp_path, key, known, "env").stdout
        command = next(line for line in printed.splitlines() if line.startswith("GIT_SSH_COMMAND="))
        environment = {"PATH": os.environ["PATH"], "GIT_SSH_COMMAND": command.partition("=")[2]}
        assert reason(url, environment) is wanted


def test_one_file_without_the_other_is_one_sentence(host: SshHost, tmp_path: Path) -> None:
    done = launched(tmp_path, host.key, Path(os.devnull), "true")
    assert done.stderr == (
        "with-secrets: FLOWS_GIT_SSH_KEY_FILE is set, and FLOWS_GIT_KNOWN_HOSTS_FILE is not; "
        "git over ssh needs the key and its hosts' keys\n"
    )
    done = launched(tmp_path, Path(os.devnull), host.known_hosts, "true")
    assert "FLOWS_GIT_SSH_KEY_FILE is not;" in done.stderr
    nothing = launched(tmp_path, Path(os.devnull), Path(os.devnull), "env")
    assert "GIT_SSH" not in nothing.stdout


def test_machine_without_ssh_or_with_an_unknown_user_is_told(tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("git", "sh"):
        (bare / program).symlink_to(Path("/usr/bin") / program)
    assert reason("git@git.example.com:team/flows.git", {"PATH": str(bare)}) is Reason.NO_SSH
    said = shlex.quote("No user exists for uid 12345")
    (bare / "ssh").write_text(f"#!/bin/sh\necho {said} >&2; exit 255\n")
    (bare / "ssh").chmod(0o755)
    assert reason("git@git.example.com:team/flows.git", {"PATH": str(bare)}) is Reason.NO_USER
