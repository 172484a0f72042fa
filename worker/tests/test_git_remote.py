"""Repositories as teams have them, on real hosts: what is sent to whom, what is cloned, and what is said."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect_processes import commit, git

from attach.git import check_repository
from tests.git_hosts import ACCEPTS, TOKEN, git_host
from tests.git_over_https import GitHandler, git_over_https
from tests.tls_server import private_authority
from yeedu_worker.git import command
from yeedu_worker.git.addresses import Address, Login, logins_of_token, without_login
from yeedu_worker.git.reasons import GitError, Reason
from yeedu_worker.git.remote import Remote, Wanted, lfs_warning

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return private_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder whose repositories are served; `flows` is one."""
    commit(tmp_path / "served" / "flows", {"flow.py": "one = 1\n", "a/b.py": "", "data/large.csv": "1\n"})
    return tmp_path / "served"


@pytest.fixture
def trusting(authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_SSL_CAINFO", str(authority[0]))
    return authority[1]


def remote_of(url: str, *logins: Login, silence_seconds: float = 30) -> Remote:
    return Remote(Address.of(url), os.environ, logins, silence_seconds=silence_seconds)


def clone(remote: Remote, target: Path, wanted: Wanted | None = None) -> Path:
    remote, revision = remote.accepted()
    remote.clone(revision, target, wanted)
    return target


@pytest.mark.parametrize("kind", ACCEPTS)
def test_token_alone_opens_every_kind_of_host_under_a_name_that_tells_nothing(
    kind: str, trusting: Path, served: Path, tmp_path: Path
) -> None:
    with git_host(trusting, served, kind) as host:
        remote = remote_of(f"{host.url}/flows", *logins_of_token(TOKEN, "git.example.com"))
        clone(remote, tmp_path / "clone")
        assert ACCEPTS[kind](*host.asked[-1])
        tried = dict.fromkeys(host.asked)
        assert len(tried) == {"GitLab": 2, "Bitbucket": 3}.get(kind, 1)
    assert TOKEN not in (tmp_path / "clone" / ".git" / "config").read_text()
    assert TOKEN not in repr(remote)


@pytest.mark.parametrize(
    ("token", "host", "sent"),
    [
        ("x", "gitlab.example.com", [("oauth2", "x")]),
        ("x", "bitbucket.org", [("x-token-auth", "x")]),
        ("x", "github.com", [("x", "")]),
        ("x", "dev.azure.com", [("x", "")]),
        ("x", "git.example.com:8443", [("x", ""), ("oauth2", "x"), ("x-token-auth", "x")]),
        ("oauth2:x", "git.example.com", [("oauth2", "x")]),
        ("gitlab+deploy-token-1:x:y", "git.example.com", [("gitlab+deploy-token-1", "x:y")]),
        ("me:x", "github.com", [("me", "x")]),
    ],
)
def test_what_is_sent_for_a_token(token: str, host: str, sent: list[tuple[str, str]]) -> None:
    assert [(login.username, login.password) for login in logins_of_token(token, host)] == sent


def test_wrong_token_and_none_are_a_sentence_each(trusting: Path, served: Path) -> None:
    with git_host(trusting, served, "GitLab") as host:
        url = f"{host.url}/flows"
        with pytest.raises(GitError) as wrong:
            remote_of(url, *logins_of_token("canary", "git.example.com")).accepted()
        with pytest.raises(GitError) as missing:
            remote_of(url).accepted()
    assert str(wrong.value) == (
        f"The git repository {url} refused the credential; "
        "check that it is valid and may read the repository."
    )
    assert str(missing.value) == (
        f"The git repository {url} asks for a credential; name a token's file in FLOWS_GIT_TOKEN_FILE, which "
        "is for FLOWS_GIT_URL's host alone, or a block in the step's access_token."
    )


def test_submodules_come_with_the_token_of_their_own_host_alone(
    trusting: Path, served: Path, tmp_path: Path
) -> None:
    commit(served / "common", {"shared.py": "x = 1\n"})
    commit(tmp_path / "elsewhere" / "open", {"free.py": "y = 1\n"})
    with (
        git_host(trusting, served, "GitLab") as host,
        git_host(trusting, tmp_path / "elsewhere") as other,
    ):
        login = Login("oauth2", TOKEN)
        lines = [
            f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n'
            for name, url in (("common", "../common"), ("open", f"{other.url}/open"))
        ]
        (served / "flows" / ".gitmodules").write_text("".join(lines))
        for name, folder in (("common", served), ("open", tmp_path / "elsewhere")):
            at = git(folder / name, "rev-parse", "HEAD")
            git(served / "flows", "update-index", "--add", "--cacheinfo", f"160000,{at},{name}")
        git(served / "flows", "add", ".gitmodules")
        git(served / "flows", "commit", "--quiet", "--message", "Modules")
        remote = remote_of(f"{host.url}/flows", login)
        made = clone(remote, tmp_path / "clone", Wanted(submodules=True))
        remote.clone(remote.revision(git(made, "rev-parse", "HEAD")), tmp_path / "pinned", Wanted((), True))
        without = clone(remote, tmp_path / "without")
        assert other.asked == []
    for one in (made, tmp_path / "pinned"):
        assert (one / "common" / "shared.py").read_text() == "x = 1\n"
        assert (one / "open" / "free.py").exists()
    assert not (without / "common" / "shared.py").exists()
    assert not [file for file in made.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]


@pytest.mark.parametrize("pinned", [False, True])
def test_directories_alone_are_fetched(trusting: Path, served: Path, tmp_path: Path, pinned: bool) -> None:
    git(served / "flows", "config", "uploadpack.allowFilter", "true")
    with git_host(trusting, served) as host:
        remote = remote_of(f"{host.url}/flows")
        revision = remote.revision(git(served / "flows", "rev-parse", "HEAD") if pinned else "")
        remote.clone(revision, tmp_path / "clone", Wanted(("a",)))
    files = {file.relative_to(tmp_path / "clone").as_posix() for file in (tmp_path / "clone").rglob("*.*")}
    assert {"flow.py", "a/b.py"} <= files
    assert "data/large.csv" not in files
    missing = git(tmp_path / "clone", "rev-list", "--objects", "--missing=print", "HEAD")
    assert missing.count("?") == 1, "the file that is not checked out was not fetched"


def test_lfs_pointer_is_told_of(served: Path, tmp_path: Path) -> None:
    assert lfs_warning(clone(remote_of((served / "flows").as_uri()), tmp_path / "without")) == ""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064d}\nsize 1024\n"
    commit(served / "flows", {"data/prices.csv": pointer, "readme": pointer.replace("version", "A version")})
    (served / "flows" / ".gitattributes").write_text("*.csv filter=lfs diff=lfs merge=lfs -text\n")
    git(served / "flows", "add", "--all")
    git(served / "flows", "commit", "--quiet", "--message", "Attributes")
    told = lfs_warning(clone(remote_of((served / "flows").as_uri()), tmp_path / "with"))
    assert told.startswith(
        "1 file(s) of the clone are pointers of git LFS, not their contents (data/prices.csv)"
    )


def test_silent_host_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/flows"
        with pytest.raises(GitError) as error:
            remote_of(url, silence_seconds=0.5).revision()
    assert error.value.reason is Reason.SILENT
    assert (
        str(error.value)
        == f"The git repository {url} cannot be reached: no answer in 0.5 s; check FLOWS_GIT_URL."
    )


def test_slow_host_is_waited_for_while_it_sends_and_progress_is_told(
    trusting: Path, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (served / "flows" / "random").write_bytes(os.urandom(2_000_000))
    git(served / "flows", "add", "--all")
    git(served / "flows", "commit", "--quiet", "--message", "Large")

    class Slow(GitHandler):
        def setup(self) -> None:
            super().setup()
            write = self.wfile.write

            def slowly(data: bytes) -> int:
                for start in range(0, len(data), 50_000):
                    write(data[start : start + 50_000])
                    if len(data) > 50_000:
                        time.sleep(0.25)  # as a line that carries a fifth of a megabyte a second
                return len(data)

            monkeypatch.setattr(self.wfile, "write", slowly)

    monkeypatch.setattr(command, "SAY_EVERY_SECONDS", 0.5)
    told: list[str] = []
    with git_over_https(trusting, served, Slow) as server:
        url = f"https://127.0.0.1:{server.server_port}/flows"
        revision, silence_seconds = remote_of(url).revision(), 8
        began = time.monotonic()
        remote_of(url, silence_seconds=silence_seconds).clone(revision, tmp_path / "clone", say=told.append)
    assert time.monotonic() - began > silence_seconds
    assert any("Receiving objects" in line for line in told), told


def test_full_disk_is_one_sentence(served: Path, tmp_path: Path) -> None:
    """A real one, of half a megabyte: needs a user namespace, or root."""
    commit(served / "flows", {"large": os.urandom(600_000).hex()})
    program = (
        "import os; from pathlib import Path; from yeedu_worker.git.addresses import Address;"
        "from yeedu_worker.git.remote import Remote;"
        f"r = Remote(Address.of({(served / 'flows').as_uri()!r}), os.environ);"
        f"r.clone(r.revision(), Path({str(tmp_path / 'small' / 'clone')!r}))"
    )
    (tmp_path / "small").mkdir()
    script = f'mount -t tmpfs -o size=512k none {tmp_path / "small"} && exec {sys.executable} -c "{program}"'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("no tmpfs can be mounted here")
    said = (
        f"/flows does not fit: no space is left in {tmp_path / 'small'}, which has 0 MB; name what the flow"
    )
    assert said in done.stderr.splitlines()[-1], done.stderr


@pytest.mark.parametrize(
    "url", ["https://[bad/x.git", "https://me:canary@[bad/x.git", "https://host:port/x.git", "", "-x"]
)
def test_url_that_is_none_is_one_sentence(url: str) -> None:
    with pytest.raises(GitError) as error:
        Address.of(url)
    assert "\n" not in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "scheme", "host"),
    [
        ("git@git.example.com:team/flows.git", "ssh", "git.example.com"),
        ("ssh://git@git.example.com:2222/team/flows.git", "ssh", "git.example.com:2222"),
        ("https://me:canary@git.example.com/x.git", "https", "git.example.com"),
        ("/srv/flows", "", ""),
        ("C:\\flows", "", ""),
        ("file:///srv/flows", "file", ""),
        ("../flows", "", ""),
    ],
)
def test_kinds_of_addresses(url: str, scheme: str, host: str) -> None:
    address = Address.of(url)
    assert (address.scheme, address.host) == (scheme, host)
    assert "canary" not in repr(address)
    assert address.url == without_login(url)


def test_private_authority_reaches_git_in_attach_as_well(
    authority: tuple[Path, Path], served: Path, tmp_path: Path
) -> None:
    launcher = ROOT / "server" / "with_secrets.py"
    with git_host(authority[1], served) as host:
        url = f"{host.url}/flows"
        plain = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path / "prefect")}
        assert "TLS certificate that is not trusted; name its CA's file" in check_repository(url, "", plain)
        assert check_repository(url, "main", {**plain, "GIT_SSL_CAINFO": str(authority[0])}) == ""
        asked = [sys.executable, str(launcher), "git", "ls-remote", url, "HEAD"]
        for file, code in ((str(authority[0]), 0), (os.devnull, 128)):
            done = subprocess.run(
                asked, env={**plain, "CA_CERT_FILE": file}, capture_output=True, check=False
            )
            assert done.returncode == code, done.stderr
