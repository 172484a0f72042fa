"""Finds the release to upgrade to, and merges it with this checkout's own commits."""

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from local.bundle.bundle import CHECKOUT, Bundle
from local.errors import CommandError
from local.release.version import is_release, numbers, platform_version, version_of_files
from local.upgrade.git import Git

_RELEASE, _CANDIDATE = "refs/upgrade/release", "refs/upgrade/candidate"
STOPS = Path("local", "upgrade", "stops.toml")


@dataclass(frozen=True)
class Release:
    """A release that an upgrade goes to.

    Attributes:
        version: Its version, such as ``0.2.0``.
        folder: A clone of the checkout that has the release and the checkout's own commits.
        commit: The clone's commit, which the checkout gets.
    """

    version: str
    folder: Path
    commit: str


def find(git: Git, version: str, source: Path | None) -> str:
    """Fetch a release into the checkout's repository, and return its version; touch no file.

    Args:
        git: Git in the checkout.
        version: The wanted version; empty for the newest.
        source: The absolute path of a checkout, a bundle or an unpacked release, in place of the remote
            ``origin``.

    Raises:
        CommandError: There is no such release, or it cannot be fetched.
    """
    if not git.commit_of("HEAD"):
        raise CommandError(
            f"{git.folder} is no checkout that git made, so there is nothing to go back to; clone the "
            "repository, bring .env and the backup there, and `make restore` it"
        )
    if source:
        return _fetch_from(git, version, source)
    remote = "origin" if git.ask("remote", "get-url", "origin") else ""
    listed = git.must("ls-remote", "--tags", "--refs", remote) if remote else git.ask("show-ref", "--tags")
    tags = {line.split("refs/tags/")[-1] for line in listed.splitlines() if "refs/tags/v" in line}
    releases = sorted((tag[1:] for tag in tags if is_release(tag[1:])), key=numbers)
    where = "the remote origin" if remote else "this checkout, which has no remote origin,"
    if not releases:
        raise CommandError(f"{where} has no release, which is a tag such as v1.2.3; name one with FROM=path")
    if version:
        wanted = version.removeprefix("v")
        if wanted not in releases:
            raise CommandError(f"{where} has no release {wanted}; its newest are {', '.join(releases[-3:])}")
        _fetch_tag(git, remote, wanted)
        return wanted
    for newest in reversed(releases):  # a tag may be of another kind, such as v2026.11.30
        _fetch_tag(git, remote, newest)
        if _fetched_version(git) == newest:
            return newest
    raise CommandError(
        f"{where} has no release: v{releases[-1]} and the other tags name another version than their own"
    )


def _fetch_tag(git: Git, remote: str, version: str) -> None:
    tag = f"refs/tags/v{version}"
    if remote:
        git.must("fetch", "--quiet", "--no-tags", remote, f"+{tag}:{_RELEASE}")
    else:
        git.must("update-ref", _RELEASE, git.commit_of(tag))


def _fetched_version(git: Git) -> str:
    return version_of_files(lambda name: git.ask("show", f"{_RELEASE}:{name}"))


def _fetch_from(git: Git, version: str, source: Path) -> str:
    """Fetch a release from a folder of this machine: a checkout, a bundle, or files alone."""
    bundle = source / CHECKOUT
    if bundle.is_file():
        Bundle.read(source).check()
    if bundle.is_file() or (source / ".git").exists():
        git.must(
            "fetch", "--quiet", "--no-tags", str(bundle if bundle.is_file() else source), f"+HEAD:{_RELEASE}"
        )
    else:
        today = f"v{platform_version(git.folder)}"
        base = git.commit_of(f"refs/tags/{today}")
        if not base:
            raise CommandError(
                f"{source} is no git checkout, and this one has no tag {today} to compare it with; "
                "`git fetch --tags` brings it, or name a checkout with FROM="
            )
        found = platform_version(source)
        git.must("update-ref", _RELEASE, _commit_of_folder(git, source, base, found))
    found = _fetched_version(git)
    if not found or (version and version.removeprefix("v") != found):
        raise CommandError(
            f"{source} is of {f'release {found}' if found else 'no release'}, and not {version}"
        )
    return found


def _commit_of_folder(git: Git, source: Path, base: str, version: str) -> str:
    """Return a commit of an unpacked release's files, as a child of the commit `base`."""
    folder = git.must("rev-parse", "--absolute-git-dir")
    index = Path(folder, "upgrade-index")
    files = Git(
        source,
        {
            "GIT_DIR": folder,
            "GIT_WORK_TREE": str(source),
            "GIT_INDEX_FILE": str(index),
            **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "make upgrade"),
            **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "upgrade@localhost"),
        },
    )
    try:
        index.unlink(missing_ok=True)
        files.must("add", "--all", ".")
        return files.must("commit-tree", "-p", base, "-m", f"Release {version}", files.must("write-tree"))
    except CommandError as error:
        raise CommandError(f"{source} cannot be read as a release: {error}") from None
    finally:
        index.unlink(missing_ok=True)


def clone(git: Git, version: str, folder: Path) -> Release:
    """Make a clone of the checkout that has the fetched release and the checkout's own commits.

    Raises:
        CommandError: Both changed the same lines, or the clone cannot be made.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git.must("clone", "--quiet", "--local", "--no-tags", str(git.folder), str(folder))
    new = Git(folder)
    new.must("fetch", "--quiet", "--no-tags", str(git.folder), f"+{_RELEASE}:{_RELEASE}")
    if conflicts := new.merge(_RELEASE):
        raise CommandError(
            f"commits of this checkout and release {version} change the same lines of "
            f"{listed(conflicts)}; merge v{version} in a clone of this checkout, and give that: "
            "make upgrade FROM=path"
        )
    if (found := platform_version(folder)) != version:
        raise CommandError(f"v{version} names {found} as its version, so it is no release that can be taken")
    git.must("fetch", "--quiet", "--no-tags", str(folder), f"+HEAD:{_CANDIDATE}")
    return Release(version, folder, git.commit_of(_CANDIDATE))


def forget(git: Git, folder: Path) -> None:
    """Remove the clone, and the references that keep the release's commits in the checkout's repository."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in (_RELEASE, _CANDIDATE):
        git.ask("update-ref", "-d", name)


def stops_between(folder: Path, old: str, new: str) -> list[tuple[str, str]]:
    """Return the releases between two that may not be skipped, with the reasons, oldest first.

    Args:
        folder: The new release's files, which list them.
        old: The current release.
        new: The wanted release.
    """
    try:
        with (folder / STOPS).open("rb") as stream:
            listed = tomllib.load(stream).get("stop", [])
    except FileNotFoundError:
        return []
    found = [(str(one["version"]), str(one["reason"])) for one in listed]
    between = [one for one in found if numbers(old) < numbers(one[0]) < numbers(new)]
    return sorted(between, key=lambda one: numbers(one[0]))


def listed(names: set[str], limit: int = 5) -> str:
    """Return a list of files in words, the first few by name."""
    shown = sorted(names)[:limit]
    return ", ".join(shown) + (f" and {len(names) - limit} more" if len(names) > limit else "")
