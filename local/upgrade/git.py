"""The few things that an upgrade asks of git, in the checkout and in the clone that the trial is made in."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from local.errors import CommandError

_AUTHOR = ("-c", "user.name=make upgrade", "-c", "user.email=upgrade@localhost")


class Git:
    """Git in one working tree.

    Args:
        folder: The working tree.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(self, *arguments: str) -> str:
        """Return what a command prints; an empty text when it fails."""
        done = self._run(*arguments)
        return done.stdout.strip("\n") if done.returncode == 0 else ""

    def must(self, *arguments: str, listed: Iterable[str] | None = None) -> str:
        """Return what a command prints.

        Args:
            arguments: Of git.
            listed: What it reads: paths.

        Raises:
            CommandError: It failed; with the last line of what it says.
        """
        done = self._run(*arguments, content=None if listed is None else "\0".join(listed))
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise CommandError(f"git {arguments[0]} in {self.folder}: {lines[-1] if lines else 'it failed'}")
        return done.stdout.strip("\n")

    def commit_of(self, revision: str) -> str:
        """Return the commit that a revision is; empty when there is no such."""
        return self.ask("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")

    def changed(self, one: str, other: str) -> set[str]:
        """Return the files in which two commits differ."""
        return _paths(self.must("diff", "--name-only", "--no-renames", "-z", one, other))

    def files(self, commit: str) -> set[str]:
        """Return the files of a commit."""
        return _paths(self.must("ls-tree", "-r", "--name-only", "-z", commit))

    def local_changes(self) -> set[str]:
        """Return the files that differ from what was committed, or that git does not know of."""
        printed = self.must("status", "--porcelain", "--untracked-files=all", "--no-renames", "-z")
        return {line[3:] for line in printed.split("\0") if line}

    def merge(self, commit: str) -> set[str]:
        """Merge a commit, with one of its own where that takes one; return the files that are in conflict."""
        done = self._run(*_AUTHOR, "merge", "--quiet", "--no-edit", commit)
        if done.returncode == 0:
            return set()
        conflicts = _paths(self.ask("diff", "--name-only", "--diff-filter=U", "-z"))
        if not conflicts:
            raise CommandError(f"git merge in {self.folder}: {done.stderr.strip() or done.stdout.strip()}")
        return conflicts

    def put(self, commit: str, other: str) -> None:
        """Make the checkout a commit's, however far it is on the way to or from another one.

        Files in which the two do not differ stay as they are, local changes and all.

        Raises:
            CommandError: A file cannot be written.
        """
        lock = Path(self.must("rev-parse", "--absolute-git-dir"), "index.lock")
        lock.unlink(missing_ok=True)  # of a git that was killed, since no other one is at work here
        differ, wanted = self.changed(commit, other), self.files(commit)
        if differ:
            paths = ("--pathspec-from-file=-", "--pathspec-file-nul")
            self.must("reset", "--quiet", commit, *paths, listed=sorted(differ))
        if present := sorted(differ & wanted):
            paths = ("--pathspec-from-file=-", "--pathspec-file-nul")
            self.must("checkout", "--quiet", commit, *paths, listed=present)
        for name in differ - wanted:
            self._remove(self.folder / name)
        self.must("update-ref", "-m", "make upgrade", "HEAD", commit)

    def _remove(self, file: Path) -> None:
        """Delete a file, and the folders that are empty then."""
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
                env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
                input=content or "",
                capture_output=True,
                text=True,
                errors="surrogateescape",
                check=False,
            )
        except OSError as error:
            raise CommandError(f"git cannot be run in {self.folder}: {error.strerror}") from None


def _paths(printed: str) -> set[str]:
    return {name for name in printed.split("\0") if name}
