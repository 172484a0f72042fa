"""``make release``: makes one commit with the new version everywhere, and its tag; pushes nothing."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from local.console import Console
from local.errors import CommandError
from local.release import changelog
from local.release.version import numbers, platform_version
from local.release.version_files import stamp
from local.settings.platform import ROOT


def make_release(version: str, console: Console, root: Path = ROOT) -> None:
    """Write the version everywhere, close the changelog's open section, commit, and tag.

    Args:
        version: The version of the release, such as ``1.4.0``.
        console: Where the result is shown.
        root: The checkout.

    Raises:
        CommandError: The version is not valid or not a later one, something is not committed, or git failed.
            The checkout is as it was.
    """
    if not version:
        raise CommandError(
            f"name the version: make release VERSION=1.4.0 (this checkout is {platform_version(root)})"
        )
    version = version.removeprefix("v")
    tag, wanted = f"v{version}", numbers(version)
    if changes := git(root, "status", "--porcelain").splitlines():
        raise CommandError(
            f"not committed: {changes[0][3:]}{', and others' if changes[1:] else ''}; commit or stash it, "
            "for a release is a commit"
        )
    log = (root / changelog.FILE).read_text(encoding="utf-8")
    released = changelog.newest(log)
    if released and wanted <= numbers(released):
        raise CommandError(
            f"{version} does not come after {released}, which {changelog.FILE} has as released"
        )
    if wanted < numbers(platform_version(root)):
        raise CommandError(f"{version} is less than {platform_version(root)}, the version of this checkout")
    if git(root, "tag", "--list", tag):
        raise CommandError(f"there is a tag {tag} already; a release that is out gets no second one")
    closed = changelog.close(log, version, datetime.now(UTC).date())
    try:
        changed = stamp(version, root)
        (root / changelog.FILE).write_text(closed, encoding="utf-8", newline="\n")
        git(root, "commit", "--quiet", "--all", f"--message=Release {version}")
    except BaseException:
        git(root, "checkout", "--quiet", "HEAD", "--", ".")
        raise
    try:
        git(root, "tag", "--annotate", f"--message=Release {version}", tag)
    except BaseException:
        git(root, "reset", "--quiet", "--hard", "HEAD~1")
        raise
    branch = git(root, "branch", "--show-current") or "HEAD:main"
    console.say(f"Release {version}: a commit that changes {len(changed) + 1} files, and the tag {tag}.")
    console.say(f"To publish it: git push --atomic origin {branch} {tag}")


def git(root: Path, *arguments: str) -> str:
    """Run git in a checkout, and return what it prints.

    Raises:
        CommandError: It failed; the message has the last line of its error output.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CommandError("git is missing; install it, for example: apt-get install git") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise CommandError(f"git {arguments[0]}: {lines[-1] if lines else done.returncode}")
    return done.stdout.rstrip()
