"""Clones from the cache are what git itself would have cloned at that moment."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect_processes import commit, git

from yeedu_worker.checkouts import snapshots
from yeedu_worker.checkouts.snapshots import CloneUnavailableError, Snapshots
from yeedu_worker.git.addresses import Address
from yeedu_worker.git.reasons import GitError
from yeedu_worker.git.remote import Remote, Wanted

MEGABYTE = 1024 * 1024


def remote_of(url: str) -> Remote:
    address = Address.of(url)
    return Remote(address, os.environ, (address.login,) if address.login else ())


class Cache:
    """A cache, and a place where its clones go."""

    def __init__(self, folder: Path, most_bytes: int = 100 * MEGABYTE) -> None:
        self.kept = folder / "kept"
        self.snapshots = Snapshots(self.kept, most_bytes)
        self._clones = folder / "clones"
        self._count = 0

    def clone(
        self,
        url: str,
        branch: str = "",
        commit_sha: str = "",
        directories: tuple[str, ...] = (),
        with_credentials: str = "",
    ) -> Path:
        self._count += 1
        target = self._clones / f"{self._count}-{threading.get_ident()}"
        remote = remote_of(with_credentials or url)
        remote, revision = self.snapshots.accepted(remote, commit_sha or branch)
        self.snapshots.check_out(remote, revision, Wanted(directories), target)
        return target

    def places(self) -> list[Path]:
        return [found.parent for found in self.kept.glob("*/*/facts.json")]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with a file, an executable, a link and folders."""
    folder = tmp_path / "source"
    commit(folder, {"flow.py": "one = 1\n", "run.sh": "#!/bin/sh\n", "a/b.py": "", "c/d.py": ""})
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("flow.py")
    commit(folder, {"flow.py": "one = 2\n"})
    return folder


def described(clone: Path) -> dict[str, str]:
    """Return what git and the file system say of a clone."""
    commands = {
        "status": ["status", "--porcelain=2", "--branch"],
        "log": ["log", "--format=%H %d"],
        "settings": ["config", "--local", "--list"],
        "branches": ["branch", "--all"],
        "shallow": ["rev-parse", "--is-shallow-repository"],
        "health": ["fsck", "--strict"],
    }
    files = {
        str(file.relative_to(clone)): oct(file.lstat().st_mode)
        for file in clone.rglob("*")
        if ".git" not in file.relative_to(clone).parts
    }
    return {**{name: git(clone, *command) for name, command in commands.items()}, "files": json.dumps(files)}


def stock_clone(url: str, target: Path, *options: str) -> Path:
    subprocess.run(["git", "clone", "--quiet", *options, url, str(target)], check=True)
    return target


@pytest.mark.parametrize("branch", ["", "main", "v1"])
def test_clone_is_what_git_clones(cache: Cache, source: Path, tmp_path: Path, branch: str) -> None:
    git(source, "tag", "v1")
    named = ["--branch", branch] if branch else []
    stock = stock_clone(source.as_uri(), tmp_path / "stock", "--depth=1", *named)
    for _ in range(2):  # the first is fetched, the second copied
        assert described(cache.clone(source.as_uri(), branch)) == described(stock)


def test_the_folder_that_a_process_works_in_can_be_the_clone(
    cache: Cache, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    remote, revision = remote_of(str(source)).accepted()
    cache.snapshots.check_out(remote, revision, Wanted(), Path.cwd())
    assert Path("flow.py").read_text() == "one = 2\n"
    with pytest.raises(CloneUnavailableError, match="is not empty"):
        cache.snapshots.check_out(remote, revision, Wanted(), Path.cwd())


def test_sub_directories_are_what_git_checks_out(cache: Cache, source: Path, tmp_path: Path) -> None:
    stock = stock_clone(source.as_uri(), tmp_path / "stock", "--depth=1", "--sparse")
    git(stock, "sparse-checkout", "set", "--", "a")
    for _ in range(2):
        clone = cache.clone(source.as_uri(), directories=("a",))
        assert json.loads(described(clone)["files"]) == json.loads(described(stock)["files"])
        assert git(clone, "status", "--porcelain") == ""
    assert (cache.clone(source.as_uri()) / "c" / "d.py").exists()


def test_commit_by_its_name_stays_when_the_branch_moves_on(cache: Cache, source: Path) -> None:
    old = git(source, "rev-parse", "HEAD")
    commit(source, {"flow.py": "one = 3\n"})
    for _ in range(2):
        clone = cache.clone(source.as_uri(), commit_sha=old)
        assert git(clone, "rev-parse", "HEAD") == old
        assert (clone / "flow.py").read_text() == "one = 2\n"
        assert git(clone, "status", "--porcelain") == ""


def test_new_commit_and_forced_older_one_are_seen_at_once(cache: Cache, source: Path) -> None:
    commits = [git(source, "rev-parse", "HEAD")]
    commits += [commit(source, {"flow.py": f"one = {number}\n"}) for number in range(3, 6)]
    for wanted in [commits[3], commits[0], commits[2], commits[0], commits[3]]:
        git(source, "reset", "--quiet", "--hard", wanted)
        assert git(cache.clone(source.as_uri()), "rev-parse", "HEAD") == wanted
    assert len(cache.places()) == 3, "each commit is fetched once"


def test_other_default_branch_at_the_same_commit_is_seen(cache: Cache, source: Path) -> None:
    assert git(cache.clone(source.as_uri()), "branch", "--show-current") == "main"
    git(source, "checkout", "--quiet", "-b", "other")
    assert git(cache.clone(source.as_uri()), "branch", "--show-current") == "other"


def test_clones_do_not_share_what_a_flow_may_change(cache: Cache, source: Path) -> None:
    first, second = cache.clone(source.as_uri()), cache.clone(source.as_uri())
    (first / "flow.py").write_text("changed")
    commit(first, {"new.py": "", "run.sh": "changed"})
    git(first, "gc", "--quiet", "--prune=now")
    shutil.rmtree(first)
    for clone in (second, cache.clone(source.as_uri())):
        assert described(clone)["status"].count("\n") == 3, "clean"
        assert (clone / "flow.py").read_text() == "one = 2\n"
        git(clone, "fsck", "--strict")


DAMAGES = {
    "pack cut off": lambda place: cut_off(next(place.glob("*.pack"))),
    "pack missing": lambda place: next(place.glob("*.pack")).unlink(),
    "pack empty": lambda place: next(place.glob("*.pack")).write_bytes(b""),
    "facts broken": lambda place: (place / "facts.json").write_text("{"),
    "facts of another kind": lambda place: (place / "facts.json").write_text(
        '{"shallow": ["../x"], "is_default": 1, "tags": []}'
    ),
    "facts missing": lambda place: (place / "facts.json").unlink(),
}


def cut_off(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:20])


def poisoned(folder: Path, source: Path, text: str) -> Path:
    """Return a pack of the same repository whose flow has another text."""
    evil = stock_clone(source.as_uri(), folder / "evil")
    commit(evil, {"flow.py": text})
    git(evil, "repack", "-a", "-d", "-q")
    return next(evil.glob(".git/objects/pack/*.pack"))


def test_what_a_run_writes_into_the_cache_reaches_no_other_run(
    cache: Cache, source: Path, tmp_path: Path
) -> None:
    """Two ways: contents in place, with size and times as they were; and a pack that git finds sound."""
    evil = poisoned(tmp_path, source, "one = 9\n").read_bytes()
    first = cache.clone(source.as_uri())
    for is_pack in (False, True):
        for file in [found for found in cache.kept.rglob("*") if found.is_file()]:
            status = file.stat()
            file.chmod(0o644)
            if is_pack and file.suffix == ".pack":
                file.write_bytes(evil)
            elif not is_pack:
                file.write_bytes(file.read_bytes().replace(b"one = 2", b"one = 9"))
            file.chmod(status.st_mode)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        for clone in (first, cache.clone(source.as_uri())):
            assert (clone / "flow.py").read_text() == "one = 2\n"
            assert git(clone, "show", "HEAD:flow.py") == "one = 2"
            assert git(clone, "status", "--porcelain") == ""
            git(clone, "fsck", "--strict")


def test_runs_share_no_file_with_each_other_or_the_cache(cache: Cache, source: Path) -> None:
    for folder in (cache.clone(source.as_uri()), cache.clone(source.as_uri()), cache.kept):
        assert {file.stat().st_nlink for file in folder.rglob("*") if file.is_file()} == {1}


def test_settings_and_hooks_of_the_cache_are_no_runs(cache: Cache, source: Path, tmp_path: Path) -> None:
    """What git would execute, were it asked to work in the cache or to copy from there."""
    cache.clone(source.as_uri())
    [place] = cache.places()
    for folder in (place, place / ".git", place / "clone" / ".git"):
        (folder / "hooks").mkdir(parents=True, exist_ok=True)
        (folder / "config").write_text(f"[core]\n\tfsmonitor = touch {tmp_path}/ran\n")
        (folder / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (folder / "hooks" / "post-checkout").chmod(0o755)
    clone = cache.clone(source.as_uri())
    assert "fsmonitor" not in git(clone, "config", "--local", "--list")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["annotated tag", "branch with a slash", "detached head", "sha256"])
def test_unusual_repositories_are_what_git_clones(cache: Cache, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "unusual"
    source.mkdir()
    git(source, "init", "--quiet", *(["--object-format=sha256"] if kind == "sha256" else []))
    commit(source, {"flow.py": "one = 1\n", "a b/é.py": ""})
    branch = {"annotated tag": "v2", "branch with a slash": "team/next"}.get(kind, "")
    if kind == "annotated tag":
        git(source, "tag", "--annotate", "--message", "Two", "v2")
    elif branch:
        git(source, "checkout", "--quiet", "-b", branch)
    elif kind == "detached head":
        git(source, "checkout", "--quiet", "--detach")
        git(source, "branch", "-D", "main")
    named = ["--branch", branch] if branch else []
    stock = stock_clone(source.as_uri(), tmp_path / "stock", "--depth=1", *named)
    for _ in range(2):
        assert described(cache.clone(source.as_uri(), branch)) == described(stock)


def test_run_does_not_wait_for_ever_for_anothers_clone(
    cache: Cache, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run's git may hang: each fetches for itself then."""
    monkeypatch.setattr(snapshots, "WAIT_SECONDS", 0.2)
    cache.clone(source.as_uri())
    commit(source, {"flow.py": "one = 3\n"})
    with (cache.places()[0].parent / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CloneUnavailableError, match=r"another flow run has been fetching .* for 0.2 s"):
            cache.clone(source.as_uri())
    assert (cache.clone(source.as_uri()) / "flow.py").read_text() == "one = 3\n"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_made_anew(cache: Cache, source: Path, damage: str) -> None:
    cache.clone(source.as_uri())
    [place] = cache.places()
    DAMAGES[damage](place)
    clone = cache.clone(source.as_uri())
    assert (clone / "flow.py").read_text() == "one = 2\n"
    git(clone, "fsck", "--strict")
    assert len(cache.places()) == 1


def test_what_a_killed_process_left_is_cleared_away(cache: Cache, source: Path) -> None:
    cache.clone(source.as_uri())
    left = cache.places()[0].parent / "new-left"
    left.mkdir()
    commit(source, {"flow.py": "one = 3\n"})
    cache.clone(source.as_uri())
    assert not left.exists()


def test_many_runs_at_once_get_their_commits_while_the_branch_moves(cache: Cache, source: Path) -> None:
    commits = {git(source, "rev-parse", "HEAD"): 0}
    newest = 0  # that the branch has reached

    def check(_: int) -> None:
        known = newest
        clone = cache.clone(source.as_uri())
        head = git(clone, "rev-parse", "HEAD")
        assert commits[head] >= known, "older than what the remote had when the run began"
        assert git(clone, "status", "--porcelain") == ""
        git(clone, "fsck", "--strict")

    with ThreadPoolExecutor(6) as pool:
        results = [pool.submit(check, number) for number in range(24)]
        for number in range(1, 8):
            (source / "flow.py").write_text(f"one = {number + 2}\n")
            git(source, "add", "--all")
            tree = git(source, "write-tree")
            new = git(source, "commit-tree", tree, "-p", "HEAD", "-m", "Change")
            commits[new] = number
            git(source, "reset", "--quiet", "--hard", new)
            newest = number
        for result in results:
            result.result()


def test_space_and_number_of_clones_are_bounded(tmp_path: Path, source: Path) -> None:
    cache = Cache(tmp_path / "cache", most_bytes=3 * MEGABYTE)
    for _ in range(4):
        commit(source, {"large.bin": os.urandom(MEGABYTE).hex()})
        cache.clone(source.as_uri())
    assert 1 <= len(cache.places()) <= 3
    many = Cache(tmp_path / "many")
    for number in range(9):
        commit(source, {"large.bin": str(number)})
        many.clone(source.as_uri())
    assert len(many.places()) == 5


def test_repository_that_does_not_answer_or_has_no_such_branch_is_said(cache: Cache, source: Path) -> None:
    with pytest.raises(GitError, match="is not a git repository"):
        cache.clone("file:///nowhere")
    with pytest.raises(GitError, match="no branch or tag 'other'"):
        cache.clone(source.as_uri(), "other")


@dataclass
class PrivateRepository:
    """A repository behind a login, as a git host serves it.

    Attributes:
        address: Host and path.
        passwords: Those that are let in, for any user.
    """

    address: str
    passwords: set[str]


@pytest.fixture
def private_repository(source: Path) -> Iterator[PrivateRepository]:
    passwords: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = self.headers.get("Authorization", "").removeprefix("Basic ")
            if base64.b64decode(login).decode().partition(":")[2] not in passwords:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            answer = subprocess.run(
                ["git", "http-backend"],
                input=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                env={
                    **os.environ,
                    "GIT_PROJECT_ROOT": str(source.parent),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                },
                capture_output=True,
                check=True,
            ).stdout
            headers, _, body = answer.partition(b"\r\n\r\n")
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + headers + b"\r\n\r\n" + body)

        do_POST = do_GET  # noqa: N815 - the base class's names

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield PrivateRepository(f"127.0.0.1:{http.server_port}/source/.git", passwords)
        finally:
            http.shutdown()
            thread.join()


def test_token_is_asked_each_time_and_is_only_in_the_runs_own_clone(
    cache: Cache, private_repository: PrivateRepository
) -> None:
    url = f"http://{private_repository.address}"

    def clone(password: str) -> Path:
        return cache.clone(url, with_credentials=f"http://user:{password}@{private_repository.address}")

    private_repository.passwords.add("first-token")
    assert "first-token" in (clone("first-token") / ".git" / "config").read_text()
    private_repository.passwords.clear()
    private_repository.passwords.add("second-token")
    with pytest.raises(GitError, match="refused the credential") as refused:
        clone("first-token")
    assert "first-token" not in str(refused.value)
    with pytest.raises(GitError, match="asks for a credential"):
        cache.clone(url)
    second = clone("second-token")
    assert git(second, "remote", "get-url", "origin").startswith("http://user:second-token@")
    assert git(second, "ls-remote", "origin", "HEAD")
    for file in cache.kept.rglob("*"):
        assert file.is_dir() or b"-token" not in file.read_bytes(), file
