"""Asks a git repository which commit a branch, a tag or its default branch has at this moment."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ANSWER_SECONDS = 60.0
_WHOLE_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class CloneUnavailableError(Exception):
    """There is no clone to be had from the cache; the message says why."""


@dataclass(frozen=True, repr=False)
class Repository:
    """A git repository, and how to get at it. Has no useful ``repr``, since its address may hold a token.

    Attributes:
        url: Its address, without credentials.
        url_with_credentials: The same with those of the flow run, if it has any.
    """

    url: str
    url_with_credentials: str

    def environment(self) -> dict[str, str]:
        """Return the environment for git, in which it uses the credentials without anybody seeing them.

        A command line can be read by every user of the machine; the environment by this one alone.
        """
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        if self.url_with_credentials != self.url:
            count = int(environment.get("GIT_CONFIG_COUNT") or 0)
            environment[f"GIT_CONFIG_KEY_{count}"] = f"url.{self.url_with_credentials}.insteadOf"
            environment[f"GIT_CONFIG_VALUE_{count}"] = self.url
            environment["GIT_CONFIG_COUNT"] = str(count + 1)
        return environment


@dataclass(frozen=True)
class Revision:
    """What to check out.

    Attributes:
        commit: Its object's name, in full.
        reference: The full name of the branch or tag that has it; empty for a commit by its own name.
        branch: What was asked for, as ``git clone --branch`` takes it; empty for the default branch.
    """

    commit: str
    reference: str
    branch: str


def revision_of(repository: Repository, branch: str | None, commit: str | None) -> Revision:
    """Ask the repository what is to be checked out now.

    It is asked even for a commit whose name says it all: whoever may not read the repository gets nothing.

    Args:
        repository: Where to ask.
        branch: A branch or a tag, or nothing for the default branch.
        commit: A commit's full name, instead.

    Raises:
        CloneUnavailableError: It does not answer, or has no such branch.
    """
    if commit and not _WHOLE_COMMIT.fullmatch(commit):
        raise CloneUnavailableError("the commit's name is shortened")
    if not branch:
        lines = _ask(repository, ["--symref", "--", repository.url, "HEAD"])
        head = next((line for line in lines if line.endswith("\tHEAD") and not line.startswith("ref:")), "")
        if commit and lines:
            return Revision(commit, "", "")
        if not head:
            raise CloneUnavailableError("the repository has no default branch")
        target = next((line.split()[1] for line in lines if line.startswith("ref:")), "HEAD")
        return Revision(head.split()[0], target, "")
    names = [f"refs/heads/{branch}", f"refs/tags/{branch}"]
    found = _references(_ask(repository, ["--", repository.url, *names]))
    name = next((name for name in names if name in found), "")
    if not name:
        raise CloneUnavailableError(f"the repository has no branch or tag {branch!r}")
    return Revision(found[name], name, branch)


def _references(lines: Sequence[str]) -> Mapping[str, str]:
    return {name: commit for commit, name in (line.split("\t") for line in lines)}


def _ask(repository: Repository, arguments: Sequence[str]) -> Sequence[str]:
    try:
        answer = subprocess.run(
            ["git", "ls-remote", *arguments],
            env=repository.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise CloneUnavailableError("git ls-remote does not run, or does not end") from None
    if answer.returncode:
        raise CloneUnavailableError(f"git ls-remote ended with exit code {answer.returncode}")
    return answer.stdout.splitlines()
