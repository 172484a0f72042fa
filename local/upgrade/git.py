"""The git operations of an upgrade, in the checkout and in the clone of its trial."""

import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from local.errors import CommandError

_AUTHOR = ("-c", "user.name=make upgrade", "-c", "user.email=upgrade@localhost")
_LOCK_SECONDS = 10.0
_PROC = Path("/proc")


class Git:
    """Git in one working tree.

    Args:
        folder: The working tree.
        variables: Further environment variables for git.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.folder, self._variables = folder, variables or {}

    def ask(self, *arguments: str) -> str:
        """Return what a command prints; empty if it fails."""
        done = self._run(*arguments)
        return done.stdout.strip("\n") if done.returncode == 0 else ""

    def must(self, *arguments: str, listed: Iterable[str] | None = None) -> str:
        """Return what a command prints.

        Args:
            arguments: The arguments of git.
            listed: The paths that it reads from standard input.

        Raises:
            CommandError: It failed; the message has the last line of its error output.
        """
        done = self._run(*arguments, content=None if listed is None else "\0".join(listed))
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise CommandError(f"git {arguments[0]} in {self.folder}: {lines[-1] if lines else 'it failed'}")
        return done.stdout.strip("\n")

    def commit_of(self, revision: str) -> str:
        """Return the commit of a revision; empty if there is no such revision."""
        return self.ask("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")

    def changed(self, one: str, other: str) -> set[str]:
        """Return the files in which two commits differ."""
        return _paths(self.must("diff", "--name-only", "--no-renames", "-z", one, other))

    def files(self, commit: str) -> set[str]:
        """Return the files of a commit."""
        return _paths(self.must("ls-tree", "-r", "--name-only", "-z", commit))

    def local_changes(self) -> set[str]:
        """Return the files that differ from what is committed, or that git does not track."""
        printed = self.must("status", "--porcelain", "--untracked-files=all", "--no-renames", "-z")
        return {line[3:] for line in printed.split("\0") if line}

    def merge(self, commit: str) -> set[str]:
        """Merge a commit, with a merge commit if needed; return the files that are in conflict."""
        done = self._run(*_AUTHOR, "merge", "--quiet", "--no-edit", commit)
        if done.returncode == 0:
            return set()
        conflicts = _paths(self.ask("diff", "--name-only", "--diff-filter=U", "-z"))
        if not conflicts:
            raise CommandError(f"git merge in {self.folder}: {done.stderr.strip() or done.stdout.strip()}")
        return conflicts

    def put(self, commit: str, other: str) -> None:
        """Put the checkout at a commit, however far it is on the way to or from another one.

        Files in which the two commits do not differ stay as they are, including local changes.

        Raises:
            CommandError: A file cannot be written, the checkout is at a third commit, or a git is running.
        """
        head = self.commit_of("HEAD")
        if head not in {commit, other}:
            raise CommandError(
                f"{self.folder} is at the commit {head[:12]}, which is of neither release; keep what you "
                f"committed by a branch (git branch mine), then git reset --soft {other[:12]}"
            )
        self._unlock()
        differ, wanted = self.changed(commit, other), self.files(commit)
        if differ:
            paths = ("--pathspec-from-file=-", "--pathspec-file-nul")
            self.must("reset", "--quiet", commit, *paths, listed=sorted(differ))
        if present := sorted(differ & wanted):
            paths = ("--pathspec-from-file=-", "--pathspec-file-nul")
            self.must("checkout", "--quiet", commit, *paths, listed=present)
        for name in differ - wanted:
            self._remove(self.folder / name)
        self.must("update-ref", "-m", "make upgrade", "HEAD", commit, head)

    def _unlock(self) -> None:
        """Remove the lock of the index that a killed git has left.

        Raises:
            CommandError: A running git may hold it.
        """
        lock = Path(self.must("rev-parse", "--absolute-git-dir"), "index.lock")
        deadline = time.monotonic() + _LOCK_SECONDS
        while lock.exists() and (others := gits_in(self.folder)):
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{lock} is there, and another git is at work (process {', '.join(map(str, others))}); "
                    "end it first"
                )
            time.sleep(0.2)
        lock.unlink(missing_ok=True)

    def in_the_way(self, names: Iterable[str]) -> set[str]:
        """Return the files of another commit in whose place there is something that HEAD does not have.

        That includes what git ignores and therefore does not report.
        """
        own = self.files("HEAD")
        return {name for name in names if name not in own and _is_taken(self.folder, name, own)}

    def _remove(self, file: Path) -> None:
        """Delete a file, and the folders that this leaves empty."""
        file.unlink(missing_ok=True)
        for folder in file.parents:
            if folder == self.folder or not folder.is_dir() or any(folder.iterdir()):
                return
            folder.rmdir()

    def _run(self, *arguments: str, content: str | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", "-c", "core.hooksPath=/dev/null", *arguments],
                cwd=self.folder,
                env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **self._variables},
                input=content or "",
                capture_output=True,
                text=True,
                errors="surrogateescape",
                check=False,
            )
        except OSError as error:
            raise CommandError(f"git cannot be run in {self.folder}: {error.strerror}") from None


def gits_in(folder: Path) -> list[int]:
    """Return the numbers of running git processes, without those that are known to work elsewhere."""
    if not _PROC.is_dir():
        command = ["ps", "-A", "-o", "pid=,comm="]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        each = (line.split(maxsplit=1) for line in listed)
        return [int(pid) for pid, program in each if Path(program).name.startswith("git")]
    found: list[int] = []
    for process in _PROC.glob("[0-9]*"):
        try:
            is_git = (process / "comm").read_text(encoding="utf-8", errors="replace").startswith("git")
            if is_git and (process / "cwd").readlink().is_relative_to(folder.resolve()):
                found.append(int(process.name))
        except PermissionError:  # another user's git, wherever it works
            found.append(int(process.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def _is_taken(folder: Path, name: str, own: set[str]) -> bool:
    """Tell whether something else is in the place of a file or of one of its parent folders."""
    if os.path.lexists(folder / name):
        return True
    parents = [parent for parent in Path(name).parents if parent.name]
    return any(
        os.path.lexists(folder / parent) and not (folder / parent).is_dir() and str(parent) not in own
        for parent in parents
    )


def _paths(printed: str) -> set[str]:
    return {name for name in printed.split("\0") if name}
