"""The cache of checkouts: keeps the objects of each commit, and builds a clone of it for every flow run.

Any flow run could write to the cache, since all run as one user. So each use checks it, by git's own hashes,
against the commit that the repository has just named (`building`), and no run shares its files.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from yeedu_worker.checkouts.building import DamagedError, Facts, build, keep, quoted
from yeedu_worker.git.command import Say
from yeedu_worker.git.reasons import GitError
from yeedu_worker.git.remote import Remote, Revision, Wanted, lfs_warning

_KEPT_FOR_EACH_REPOSITORY = 5
# How long to wait for another run's clone. After 180 s, `rescue` takes a run that has not begun for dead.
WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05
_TRIES = 5
_FACTS = "facts.json"
_CLONE = "clone"
_WARNING = "warning"


class CloneUnavailableError(Exception):
    """The cache cannot provide a clone; the message says why."""


class Snapshots:
    """What clones are built from: ``REPOSITORY/REVISION`` in a folder, each made once and not changed.

    Any number of processes may share the folder.

    Args:
        folder: Where they are kept; created if missing, private to this user.
        most_bytes: How much space they may take together, not counting those that flow runs use right now.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def accepted(self, remote: Remote, revision: str) -> tuple[Remote, Revision]:
        """Ask for a revision; of several logins, try the one first that the host accepted the last time.

        Raises:
            GitError: The repository cannot be asked, or has no such revision.
        """
        if len(remote.logins) < 2:
            return remote.accepted(revision)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / f"login-{_digest(remote.address.host)}"
        last = file.read_text(encoding="ascii") if file.exists() else "0"
        first = int(last) if last.isdecimal() and int(last) < len(remote.logins) else 0
        order = [remote.logins[first], *(login for login in remote.logins if login != remote.logins[first])]
        found, at = replace(remote, logins=tuple(order)).accepted(revision)
        if found.logins[0] != order[0]:
            file.write_text(str(remote.logins.index(found.logins[0])), encoding="ascii")
        return found, at

    def check_out(
        self, remote: Remote, revision: Revision, wanted: Wanted, target: Path, say: Say | None = None
    ) -> str:
        """Make a clone of the repository at this revision in a new folder.

        Args:
            remote: To fetch from, if this revision is not cached yet.
            revision: What to check out.
            wanted: Which part of it. A clone with submodules is never cached, since these may be another's.
            target: The clone's folder; new, or empty.
            say: Gets what git says about its progress, every few seconds.

        Returns:
            A warning for the user of the clone; empty for none.

        Raises:
            CloneUnavailableError: The cache cannot provide it.
            GitError: Git cannot fetch it.
            OSError: A folder cannot be written.
        """
        target.mkdir(parents=True, exist_ok=True)  # a repository named `.git` is cloned right here
        if any(target.iterdir()):
            raise CloneUnavailableError(f"{target} is not empty")
        if wanted.submodules:
            try:
                remote.clone(revision, target, wanted, say)
            except BaseException:
                _empty(target)
                raise
            _write_credentials(remote, target)
            return lfs_warning(target)
        shelf = self._folder / _digest(remote.address.url)
        shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_TRIES):  # fetch again what is damaged, and a branch that has just moved on
            place = shelf / _digest(revision.commit, revision.reference, revision.branch, *wanted.directories)
            if self._build(place, remote, revision, wanted, target, say):
                _write_credentials(remote, target)
                return _read(place / _WARNING)
            if not self._fetch(remote, revision, wanted, place, say):
                revision = remote.revision(revision.branch)
        raise CloneUnavailableError(f"{shelf} keeps being damaged, or the repository changes too fast")

    def _build(
        self,
        place: Path,
        remote: Remote,
        revision: Revision,
        wanted: Wanted,
        target: Path,
        say: Say | None,
    ) -> bool:
        """Build a clone from its snapshot; return false if there is none. Remove a damaged one."""
        try:
            with _shared(place / _FACTS):
                os.utime(place)
                build(place, Facts.read(place / _FACTS), remote, revision, wanted, target, say)
        except FileNotFoundError:
            _empty(target)
            return False
        except (OSError, GitError):  # there is no space left, for example
            _empty(target)
            raise
        except DamagedError:
            _empty(target)
            with _exclusive(place.parent / "lock"):
                _remove(place)
            return False
        return True

    def _fetch(
        self, remote: Remote, revision: Revision, wanted: Wanted, place: Path, say: Say | None
    ) -> bool:
        """Have git clone, and keep a snapshot of that, unless another process has done so meanwhile.

        Returns:
            Whether the snapshot is of this revision: a branch may have moved on.
        """
        with _exclusive(place.parent / "lock"):
            if (place / _FACTS).exists():
                return True
            shutil.rmtree(place, ignore_errors=True)
            for unfinished in place.parent.glob("new-*"):  # of a process that was killed
                shutil.rmtree(unfinished)
            new = Path(tempfile.mkdtemp(prefix="new-", dir=place.parent))
            try:
                remote.clone(revision, new / _CLONE, wanted, say)
                got = revision.reference if revision.reference.startswith("refs/tags/") else "HEAD"
                if remote.git(["rev-parse", got], new / _CLONE).strip() != revision.commit:
                    shutil.rmtree(new)
                    return False
                (new / _WARNING).write_text(lfs_warning(new / _CLONE), encoding="utf-8")
                keep(remote, new / _CLONE, new).write(new / _FACTS)
                new.rename(place)
            except BaseException:
                shutil.rmtree(new)
                raise
            self._evict(keep=place)
        return True

    def _evict(self, keep: Path) -> None:
        """Remove the least recently used snapshots until the rest are few and small enough."""
        places = sorted(self._folder.glob("*/*/"), key=_age, reverse=True)
        seen: dict[Path, int] = {}
        bytes_left = self._most_bytes
        for place in [keep, *(place for place in places if place != keep)]:
            seen[place.parent] = seen.get(place.parent, 0) + 1
            bytes_left -= _size_bytes(place)
            if place != keep and (bytes_left < 0 or seen[place.parent] > _KEPT_FOR_EACH_REPOSITORY):
                _remove(place)


def _empty(folder: Path) -> None:
    """Empty a folder, but keep it: it may be this process's working directory."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _write_credentials(remote: Remote, target: Path) -> None:
    """Write the login into the clone, as Prefect does: git in the flow run needs it for the repository."""
    if remote.login is None:
        return
    config = target / ".git" / "config"
    lines = config.read_text(encoding="utf-8").splitlines()
    # The line is found by its key, since git may have quoted the value.
    number = next(i for i in range(lines.index('[remote "origin"]'), len(lines)) if lines[i][:5] == "\turl ")
    lines[number] = f"\turl = {quoted(remote.address.with_login(remote.login))}"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:  # removed meanwhile, or written by an earlier version
        return ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _age(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return 0


def _size_bytes(place: Path) -> int:
    return sum(file.lstat().st_size for file in place.glob("*") if file.is_file())


def _remove(place: Path) -> None:
    """Remove a snapshot, unless a flow run is just copying it."""
    with suppress(FileNotFoundError, BlockingIOError), (place / _FACTS).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (place / _FACTS).unlink()  # from here on, no other process finds it
        shutil.rmtree(place)


@contextmanager
def _shared(file: Path) -> Generator[None]:
    """Keep a snapshot from being removed while the block runs.

    Raises:
        FileNotFoundError: It does not exist, or was just removed.
    """
    with file.open("rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_SH)
        if not os.fstat(opened.fileno()).st_nlink:
            raise FileNotFoundError(file)
        yield


@contextmanager
def _exclusive(file: Path) -> Generator[None]:
    """Keep other processes from changing a repository's snapshots while the block runs.

    Raises:
        CloneUnavailableError: Another process has held the lock for too long.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    with file.open("ab") as opened:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CloneUnavailableError(
                        f"another flow run has been fetching from this repository for {WAIT_SECONDS:g} s"
                    ) from None
            time.sleep(_POLL_SECONDS)
        yield
