"""A remote git repository: resolves its revisions, and clones it."""

import base64
import difflib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from yeedu_worker.git.addresses import Address, Login, is_commit
from yeedu_worker.git.command import SILENCE_SECONDS, Say, SilentError, run_git
from yeedu_worker.git.reasons import (
    PLATFORM_HINTS,
    GitError,
    Hints,
    Reason,
    explained,
    last_words,
    reason_of,
)

# A git-lfs pointer is never larger than this.
_MAX_BYTES_OF_POINTER = 1024
_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Revision:
    """What to check out.

    Attributes:
        commit: The full name of its object.
        reference: The full name of the branch or tag that has it; empty for a commit given by its name.
        branch: What was asked for, as ``git clone --branch`` takes it; empty for the default branch.
    """

    commit: str
    reference: str = ""
    branch: str = ""


@dataclass(frozen=True)
class Wanted:
    """What a clone contains.

    Attributes:
        directories: Folders to restrict it to (``git sparse-checkout``); none for all.
        submodules: Whether to clone submodules as well.
    """

    directories: tuple[str, ...] = ()
    submodules: bool = False


@dataclass(frozen=True)
class Remote:
    """A repository, and how to access it.

    Attributes:
        address: Where it is.
        environment: The whole environment of git.
        logins: The logins to try in turn; `accepted` keeps the one that the host takes.
        hints: What to do about each reason, for error messages; by default, on the platform.
        silence_seconds: After how long without output from git to give up.
    """

    address: Address
    environment: Mapping[str, str] = field(repr=False)
    logins: tuple[Login, ...] = ()
    hints: Hints = field(default_factory=lambda: PLATFORM_HINTS, repr=False)
    silence_seconds: float = SILENCE_SECONDS

    @property
    def login(self) -> Login | None:
        """The login that is used."""
        return self.logins[0] if self.logins else None

    def accepted(self, wanted: str = "") -> "tuple[Remote, Revision]":
        """Find the login that the host takes, and what a revision is right now.

        Returns:
            The repository with only that login, and the revision.

        Raises:
            GitError: The host takes none of them or does not answer, or there is no such revision.
        """
        for login in self.logins[:-1]:
            remote = replace(self, logins=(login,))
            try:
                return remote, remote.revision(wanted)
            except GitError as error:
                if error.reason not in (Reason.REFUSED, Reason.MISSING):
                    raise
        remote = replace(self, logins=self.logins[-1:])
        return remote, remote.revision(wanted)

    def revision(self, wanted: str = "") -> Revision:
        """Ask the repository what a branch, a tag, a commit or the default branch is right now.

        It is asked even about a full commit id: nobody gets a commit without access to the repository.

        Raises:
            GitError: It does not answer, or has no such branch or tag.
        """
        if is_commit(wanted):
            self._ask("HEAD")
            return Revision(wanted)
        if not wanted:
            lines = self._ask("HEAD", "--symref")
            head = next(
                (line for line in lines if line.endswith("\tHEAD") and not line.startswith("ref:")), ""
            )
            if not head:
                raise self._error(Reason.NO_COMMIT)
            target = next((line.split()[1] for line in lines if line.startswith("ref:")), "HEAD")
            return Revision(head.split()[0], target)
        names = [f"refs/heads/{wanted}", f"refs/tags/{wanted}"]
        found = self.references(*names)
        for name in names:
            if name in found:
                return Revision(found[name], name, wanted)
        raise self._no_revision(wanted)

    def references(self, *names: str) -> dict[str, str]:
        """Ask which of these branches and tags exist; return their objects by full name.

        Raises:
            GitError: The repository does not answer.
        """
        found = {name: commit for commit, name in (line.split("\t") for line in self._ask(*names))}
        return {name: found[name] for name in names if name in found}

    def _no_revision(self, wanted: str) -> GitError:
        names = [
            line.split("\t", 1)[1].removeprefix("refs/heads/").removeprefix("refs/tags/")
            for line in self._ask("--refs", "--heads", "--tags")
        ]
        near = difflib.get_close_matches(wanted, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(names)[:10]) or 'none'}."
        return GitError(
            Reason.NO_REVISION,
            f"The git repository {self.address.url} has no branch or tag {wanted!r}; {hint}",
        )

    def clone(
        self, revision: Revision, target: Path, wanted: Wanted | None = None, say: Say | None = None
    ) -> None:
        """Make a shallow clone as Prefect does, but without a login in it.

        Args:
            revision: What to check out.
            target: The clone's folder; new, or empty.
            wanted: What the clone contains; by default all folders, and no submodules.
            say: Gets what git says about its progress, every few seconds.

        Raises:
            GitError: Git fails.
        """
        try:
            self._clone(revision, target, wanted or Wanted(), say)
        except GitError as error:
            if error.reason is not Reason.NO_SPACE:
                raise
            megabytes = shutil.disk_usage(target.parent).total // 1_000_000
            raise self._error(error.reason, f" in {target.parent}, which has {megabytes} MB") from None

    def _clone(self, revision: Revision, target: Path, wanted: Wanted, say: Say | None) -> None:
        url = self.address.url
        # If only some folders are checked out, the contents of the others are not fetched.
        sparse = ["--filter=blob:none"] if wanted.directories else []
        if revision.reference:
            sparse += ["--sparse"] if wanted.directories else []
            branch = ["--branch", revision.branch] if revision.branch else []
            self.git(["clone", "--progress", "--depth=1", *branch, *sparse, "--", url, str(target)], say=say)
            self._choose(wanted, target, say)
        else:
            self.git(["init", "--quiet", "--", str(target)])
            self.git(["remote", "add", "--", "origin", url], target)
            fetch = ["fetch", "--progress", "--depth=1", *sparse, "origin", revision.commit]
            self.git(fetch, target, say)
            self._choose(wanted, target, say)
            self.git(["checkout", "--progress", "--detach", revision.commit], target, say)
        if wanted.submodules:
            self.git(["submodule", "update", "--init", "--recursive", "--progress"], target, say)

    def _choose(self, wanted: Wanted, target: Path, say: Say | None) -> None:
        if wanted.directories:
            self.git(["sparse-checkout", "set", "--", *wanted.directories], target, say)

    def _ask(self, *arguments: str) -> list[str]:
        options = [argument for argument in arguments if argument.startswith("--")]
        names = [argument for argument in arguments if argument not in options]
        return self.git(["ls-remote", *options, "--", self.address.url, *names]).splitlines()

    def git(self, arguments: Sequence[str], folder: Path | None = None, say: Say | None = None) -> str:
        """Run git with the login, which stays hidden; return git's standard output.

        Raises:
            GitError: Git failed.
        """
        try:
            code, output, said = run_git(
                arguments,
                self._environment(),
                folder=folder,
                say=say,
                silence_seconds=self.silence_seconds,
            )
        except FileNotFoundError:
            raise self._error(Reason.NO_GIT) from None
        except SilentError:
            raise self._error(Reason.SILENT, f" in {self.silence_seconds:g} s") from None
        if code:
            raise self._failure(said)
        return output

    def _failure(self, said: str) -> GitError:
        reason = reason_of(said)
        if reason is Reason.NO_LOGIN and self.logins:
            reason = Reason.REFUSED
        return self._error(reason, f": {last_words(said)}" if reason is Reason.OTHER else "")

    def _error(self, reason: Reason, detail: str = "") -> GitError:
        return explained(self.address.url, reason, self.hints, detail)

    def _environment(self) -> dict[str, str]:
        """Return git's environment, which holds the login, since others can see a command line.

        The header goes only to the repository's own host, even when git fetches submodules.
        """
        environment = dict(self.environment)
        if self.login and self.address.scheme in ("http", "https"):
            pair = f"{self.login.username}:{self.login.password}".encode()
            count = int(environment.get("GIT_CONFIG_COUNT") or 0)
            environment |= {
                "GIT_CONFIG_COUNT": str(count + 1),
                f"GIT_CONFIG_KEY_{count}": f"http.{self.address.scheme}://{self.address.host}/.extraHeader",
                f"GIT_CONFIG_VALUE_{count}": f"Authorization: Basic {base64.b64encode(pair).decode()}",
            }
        return environment


def lfs_pointers(clone: Path) -> list[str]:
    """Return the files of a clone that hold a git LFS pointer instead of their content."""
    # Every pointer's file is matched by a .gitattributes; most repositories match none.
    attributes = (file for file in clone.rglob(".gitattributes") if ".git" not in file.parts[:-1])
    if not any(b"filter=lfs" in file.read_bytes() for file in attributes if file.is_file()):
        return []
    return sorted(
        file.relative_to(clone).as_posix()
        for file in clone.rglob("*")
        if ".git" not in file.relative_to(clone).parts and _is_pointer(file)
    )


def _is_pointer(file: Path) -> bool:
    if file.is_symlink() or not file.is_file() or file.stat().st_size > _MAX_BYTES_OF_POINTER:
        return False
    with file.open("rb") as opened:
        return opened.read(len(_POINTER)) == _POINTER


def lfs_warning(clone: Path) -> str:
    """Return a sentence about a clone's git LFS pointers; empty if there are none."""
    found = lfs_pointers(clone)
    if not found:
        return ""
    first = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
    return (
        f"{len(found)} file(s) of the clone are pointers of git LFS, not their contents ({first}): "
        "git-lfs is not installed here; a flow that reads them reads the pointer"
    )
