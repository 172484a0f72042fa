"""Runs in place of `git pack-objects` (uploadpack.packObjectsHook), to refuse unpublished objects.

A client may request any object by its id. Git checks that it is reachable only in the old protocol, and there
only for commits. The contents of stashes, dropped commits and the index were never published, so an object
that cannot be reached from HEAD, a branch or a tag is refused here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

_ID = re.compile(rb"[0-9a-f]{40,64}")


def _git(*arguments: str, stdin: list[bytes] | None = None) -> list[bytes]:
    """Return the lines that git prints."""
    given = b"".join(line + b"\n" for line in stdin or [])
    return subprocess.run(
        ["git", *arguments], input=given, stdout=subprocess.PIPE, check=True
    ).stdout.splitlines()


def unreachable(wanted: set[bytes]) -> set[bytes]:
    """Return the objects among these ids that cannot be reached from HEAD, a branch or a tag."""
    ends = {
        *_git("for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags"),
        *_git("rev-parse", "HEAD"),
    }
    others = wanted - ends
    if not others:  # nearly always, as a clone requests the end of a branch
        return set()
    kinds = _git("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=sorted(others))
    commits = {line.removesuffix(b" commit") for line in kinds if line.endswith(b" commit")}
    beyond = commits and commits & {
        *_git("rev-list", "--stdin", stdin=[*commits, *(b"^" + end for end in ends)])
    }
    others -= commits
    # A partial clone requests files of the newest commits. All of history is searched only for others.
    for depth in (["--no-walk"], []):
        if others:
            listed = ["rev-list", "--objects", "--no-object-names", *depth, "--stdin"]
            others.difference_update(_git(*listed, stdin=sorted(ends)))
    return beyond | others


def main() -> None:
    """Become `git pack-objects`, or exit with 1 and a sentence that the client sees."""
    asked = sys.stdin.buffer.read()
    wanted = {line for line in asked.partition(b"--not\n")[0].splitlines() if _ID.fullmatch(line)}
    try:
        refused = unreachable(wanted)
    except subprocess.CalledProcessError:
        sys.exit("git-server: git cannot read what HEAD, a branch or a tag names; see its log")
    if refused:
        sys.exit(f"git-server: no branch or tag leads to {min(refused).decode()}, so it cannot be fetched")
    again = os.memfd_create("asked")
    with os.fdopen(again, "wb", closefd=False) as file:
        file.write(asked)
    os.lseek(again, 0, os.SEEK_SET)
    os.dup2(again, 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command is git's own


if __name__ == "__main__":
    main()
