"""Hosts of git repositories as teams have them: each wants its own kind of login, or a key over ssh."""

import base64
import contextlib
import getpass
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.git_over_https import GitHandler, git_over_https
from tests.platforms import free_port, wait_for

TOKEN = "canary-of-a-token"
# Which user and password a host takes for a token.
ACCEPTS: dict[str, Callable[[str, str], bool]] = {
    "GitHub": lambda user, password: TOKEN in (user, password),
    "GitLab": lambda user, password: bool(user) and password == TOKEN,
    "Bitbucket": lambda user, password: (user, password) == ("x-token-auth", TOKEN),
    "Azure DevOps": lambda user, password: TOKEN in (user, password),
    "Gitea": lambda user, password: TOKEN in (user, password),
}


@dataclass
class Host:
    """A host over https.

    Attributes:
        url: The URL below which its repositories are.
        accepts: Whether it takes a user and a password; anybody may read when it is None.
        asked: The users and passwords that it was shown.
    """

    url: str = ""
    accepts: Callable[[str, str], bool] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def git_host(certificate: Path, root: Path, kind: str = "") -> Iterator[Host]:
    """Serve the repositories below a folder, to everybody or as a kind of host does it."""
    host = Host(accepts=ACCEPTS.get(kind))

    class Handler(GitHandler):
        def serve(self) -> None:
            login = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            user, colon, password = login.partition(":")
            if colon:
                host.asked.append((user, password))
            if host.accepts and not (colon and host.accepts(user, password)):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            super().serve()

    with git_over_https(certificate, root, Handler) as server:
        host.url = f"https://127.0.0.1:{server.server_port}"
        yield host


@dataclass(frozen=True)
class SshHost:
    """A host over ssh, and what its users have to know of it.

    Attributes:
        address: The beginning of its addresses: `ssh://USER@127.0.0.1:PORT`.
        key: A private key that it takes.
        known_hosts: Its own key, as a line of a known_hosts file.
    """

    address: str
    key: Path
    known_hosts: Path


@contextlib.contextmanager
def ssh_host(folder: Path) -> Iterator[SshHost]:
    """Run Debian's sshd on a free port of this machine, for this user alone."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        if os.environ.get("REQUIRE_DOCKER"):
            pytest.fail("there is no sshd; install openssh-server")
        pytest.skip("there is no sshd; install openssh-server")
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host_key'}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'key.pub'}\nStrictModes no\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # which a system makes that starts it itself
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stderr
    said: list[bytes] = []
    listener = threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, b"")))
    listener.start()
    try:
        wait_for("sshd", lambda: any(b"Server listening" in line for line in said), 60, 0.02)
        (folder / "known_hosts").write_text(
            f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text().rpartition(' ')[0]}\n"
        )
        yield SshHost(f"ssh://{getpass.getuser()}@127.0.0.1:{port}", folder / "key", folder / "known_hosts")
    finally:
        process.terminate()
        process.wait()
        listener.join()
        process.stderr.close()
