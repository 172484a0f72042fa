"""Keeps one clone of each commit that flow runs asked for, and gives every run a copy of its own."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from yeedu_worker.checkouts.copies import DamagedError, copy_clone, list_entries, read_list, write_list
from yeedu_worker.checkouts.remote import CloneUnavailableError, Repository, Revision

_KEPT_FOR_EACH_REPOSITORY = 5
_LIST = "entries.json"
_CLONE = "clone"


class Snapshots:
    """Clones in a folder, ``REPOSITORY/REVISION/clone``, none of which is changed once it is there.

    Any number of processes may share the folder.

    Args:
        folder: Where they are kept; made when it is missing, for this user alone.
        most_bytes: How much space they may take together, apart from what flow runs use just now.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def check_out(
        self, repository: Repository, revision: Revision, directories: Sequence[str], target: Path
    ) -> None:
        """Make a clone of the repository at this revision in a new folder.

        Args:
            repository: To fetch from, when this revision is not there yet.
            revision: What to check out.
            directories: Folders to restrict the clone to (``git sparse-checkout``); none for all.
            target: The clone; does not exist yet.

        Raises:
            CloneUnavailableError: Git cannot fetch it.
            OSError: A folder cannot be written.
        """
        shelf = self._folder / _digest(repository.url)
        shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = shelf / _digest(revision.commit, revision.reference, revision.branch, *directories)
        for _ in range(2):  # a damaged one is fetched anew, once
            if self._copy(place, target):
                _write_credentials(repository, target)
                return
            self._fetch(repository, revision, directories, place)
        raise CloneUnavailableError(f"{place} is damaged again and again")

    def _copy(self, place: Path, target: Path) -> bool:
        """Copy a snapshot; return whether there is one. A damaged one is removed.

        Raises:
            CloneUnavailableError: The target is a folder with something in it.
        """
        target.mkdir(parents=True, exist_ok=True)  # a repository called `.git` is cloned right here
        if any(target.iterdir()):
            raise CloneUnavailableError(f"{target} is not empty")
        try:
            with _shared(place / _LIST):
                os.utime(place)
                copy_clone(place / _CLONE, target, read_list(place / _LIST))
        except FileNotFoundError:
            _empty(target)
            return False
        except DamagedError:
            _empty(target)
            with _exclusive(place.parent / "lock"):
                _remove(place)
            return False
        return True

    def _fetch(
        self, repository: Repository, revision: Revision, directories: Sequence[str], place: Path
    ) -> None:
        """Have git make the clone, unless another process has done so meanwhile."""
        with _exclusive(place.parent / "lock"):
            if (place / _LIST).exists():
                return
            shutil.rmtree(place, ignore_errors=True)
            for unfinished in place.parent.glob("new-*"):  # of a process that was killed
                shutil.rmtree(unfinished)
            new = Path(tempfile.mkdtemp(prefix="new-", dir=place.parent))
            try:
                clone(repository, revision, directories, new / _CLONE)
                write_list(new / _LIST, list_entries(new / _CLONE))
                new.rename(place)
            except BaseException:
                shutil.rmtree(new)
                raise
            self._make_room(keep=place)

    def _make_room(self, keep: Path) -> None:
        """Remove what was not used for the longest time, until the rest is few and small enough."""
        places = sorted(self._folder.glob("*/*/"), key=_age, reverse=True)
        seen: dict[Path, int] = {}
        bytes_left = self._most_bytes
        for place in [keep, *(place for place in places if place != keep)]:
            seen[place.parent] = seen.get(place.parent, 0) + 1
            bytes_left -= _size_bytes(place)
            if place != keep and (bytes_left < 0 or seen[place.parent] > _KEPT_FOR_EACH_REPOSITORY):
                _remove(place)


def _empty(folder: Path) -> None:
    """Remove what is in a folder; it may be the one that this process works in, so it stays."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def clone(repository: Repository, revision: Revision, directories: Sequence[str], target: Path) -> None:
    """Make a shallow clone as Prefect does, without credentials in it.

    Raises:
        CloneUnavailableError: Git cannot.
    """
    sparse = ["--sparse"] if directories else []
    branch = ["--branch", revision.branch] if revision.branch else []
    if revision.reference:
        _git(repository, ["clone", "--depth", "1", *branch, *sparse, "--", repository.url, str(target)])
    else:
        _git(repository, ["init", str(target)])
        _git(repository, ["remote", "add", "origin", repository.url], target)
        _git(repository, ["fetch", "--depth", "1", "origin", revision.commit], target)
        if sparse:
            _git(repository, ["sparse-checkout", "set", "--", *directories], target)
        _git(repository, ["checkout", "--detach", revision.commit], target)
    if directories:
        _git(repository, ["sparse-checkout", "set", "--", *directories], target)


def _git(repository: Repository, arguments: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=repository.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise CloneUnavailableError(f"git {arguments[0]} ended with exit code {done.returncode}")


def _write_credentials(repository: Repository, target: Path) -> None:
    """Let git in the flow run reach the repository, as in a clone that Prefect makes."""
    if repository.url_with_credentials == repository.url:
        return
    config = target / ".git" / "config"
    quoted = repository.url_with_credentials.replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        f'\turl = "{quoted}"' if line == f"\turl = {repository.url}" else line
        for line in config.read_text(encoding="utf-8").splitlines()
    ]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _age(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return 0


def _size_bytes(place: Path) -> int:
    try:
        return sum(entry.size_bytes for entry in read_list(place / _LIST))
    except DamagedError:
        return 0


def _remove(place: Path) -> None:
    """Remove a snapshot, unless a flow run is just copying it."""
    with suppress(FileNotFoundError, BlockingIOError), (place / _LIST).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (place / _LIST).unlink()  # who comes now finds none
        shutil.rmtree(place)


@contextmanager
def _shared(file: Path) -> Generator[None]:
    """Keep a snapshot from being removed.

    Raises:
        FileNotFoundError: It is not there, or not any more.
    """
    with file.open("rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_SH)
        if not os.fstat(opened.fileno()).st_nlink:
            raise FileNotFoundError(file)
        yield


@contextmanager
def _exclusive(file: Path) -> Generator[None]:
    with file.open("ab") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
