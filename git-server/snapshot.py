"""How a checkout of this repository is offered for cloning: live where possible, else as a snapshot.

Live means that the published path is a symbolic link to the checkout, so a clone gets the commit that HEAD
names at that moment. A snapshot is a new repository with one commit of the checkout's files, for checkouts
whose history is not at hand or still empty. Only the standard library and git are needed, so that the
container and the local processes share it:

    python git-server/snapshot.py CHECKOUT TARGET
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SNAPSHOT_AUTHOR = "Checkout Snapshot"
SNAPSHOT_EMAIL = "snapshot@localhost"
# A fixed date: the same files give the same commit, whenever and wherever the snapshot is taken.
SNAPSHOT_DATE = "2000-01-01T00:00:00+00:00"

# What a clone reads of a repository; hooks, logs and the index may stay private.
_SERVED_NAMES = (
    "HEAD",
    "config",
    "config.worktree",
    "objects",
    "packed-refs",
    "refs",
    "reftable",
    "shallow",
)


class CheckoutError(Exception):
    """The checkout cannot be served at all; the message is one sentence with its mend."""


@dataclass(frozen=True)
class Published:
    """What `publish` made.

    Attributes:
        target: The path to clone from.
        snapshot_reason: Why it is a snapshot; `None` when it is live.
    """

    target: Path
    snapshot_reason: str | None

    def describe(self, checkout: Path) -> str:
        """One line for the log that says what clones will get."""
        if self.snapshot_reason is None:
            return f"serving {checkout} live: a clone gets the commit that HEAD names at that moment"
        return (
            f"serving a snapshot of the files in {checkout} as they are now, because {self.snapshot_reason};"
            " restart to serve later changes"
        )


def publish(checkout: Path, target: Path) -> Published:
    """Make `target` a repository to clone from: a link to the checkout, or a snapshot of its files.

    Args:
        checkout: The folder that holds the flows, usually with a `.git`.
        target: Where to publish; replaced when it exists.

    Raises:
        CheckoutError: A file that must be served cannot be read, or there is none.
    """
    if not checkout.is_dir():
        raise CheckoutError(
            f"{checkout} is not a folder: mount the checkout there, or name the folder that holds it."
        )
    _require_readable(checkout, is_recursive=False)
    _remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    reason = why_not_live(checkout)
    if reason is None:
        dot_git = checkout / ".git"
        target.symlink_to(dot_git if dot_git.is_dir() else checkout, target_is_directory=True)
    else:
        take_snapshot(checkout, target)
    return Published(target, reason)


def why_not_live(checkout: Path) -> str | None:
    """Tell why the checkout's own repository cannot be served, or `None` when it can.

    Raises:
        CheckoutError: The repository is there, but this user may not read it.
    """
    dot_git = checkout / ".git"
    if not os.path.lexists(dot_git):
        return "it has no .git (a downloaded archive)"
    _require_readable(dot_git, is_recursive=False)
    if dot_git.is_dir():
        for name in _SERVED_NAMES:
            if os.path.lexists(dot_git / name):
                _require_readable(dot_git / name, is_recursive=True)
        missing = _missing_alternate(dot_git / "objects")
        if missing is not None:
            return f"its .git borrows objects from {missing}, which is not there"
    elif _git(checkout, "rev-parse", "--git-dir").returncode != 0:
        return "its .git is a file (a linked worktree or a submodule) and what it points to is not there"
    if _git(checkout, "rev-parse", "--quiet", "--verify", "HEAD").returncode != 0:
        return "its repository has no commit yet"
    walk = _git(checkout, "rev-list", "--objects", "--quiet", "--max-count=1", "HEAD")
    if walk.returncode != 0:
        return f"git cannot read the commit that HEAD names ({_last_line(walk.stderr)})"
    return None


def take_snapshot(checkout: Path, target: Path) -> None:
    """Make a bare repository at `target` with one commit of the checkout's files.

    It holds the tracked files and those that no .gitignore excludes, never a `.env`, never a nested
    repository. Author and date are fixed, so that the same files always give the same commit.

    Raises:
        CheckoutError: A file cannot be read, or there is none to serve.
    """
    _run(target.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(target))
    names = _list_files(checkout, target)
    if not names:
        raise CheckoutError(f"{checkout} holds no file to serve: is it the checkout of this repository?")
    for name in names:
        _require_readable(checkout / os.fsdecode(name), is_recursive=False)
    in_snapshot = (f"--git-dir={target}", f"--work-tree={checkout}")
    _run(checkout, *in_snapshot, "update-index", "--add", "-z", "--stdin", stdin=b"\0".join(names) + b"\0")
    tree = _run(checkout, *in_snapshot, "write-tree").strip().decode()
    commit = _run(checkout, *in_snapshot, "commit-tree", tree, "-m", "Snapshot of the checkout").strip()
    _run(checkout, *in_snapshot, "update-ref", "refs/heads/main", commit.decode())


def _list_files(checkout: Path, target: Path) -> list[bytes]:
    """Names, relative to the checkout, of every file that belongs into the snapshot."""
    listing = _git(
        checkout,
        f"--git-dir={target}",
        f"--work-tree={checkout}",
        "ls-files",
        "-z",
        "--others",
        "--exclude-standard",
    )
    hidden = re.search(rb"could not open directory '(.+)'", listing.stderr)
    if hidden:
        _require_readable(checkout / os.fsdecode(hidden[1]), is_recursive=False)
    names = set(listing.stdout.split(b"\0"))
    # An index, where there is one, also knows the files that are tracked although a .gitignore names them.
    tracked = _git(checkout, "ls-files", "-z", "--cached")
    if tracked.returncode == 0:
        names.update(tracked.stdout.split(b"\0"))
    return sorted(name for name in names if name and _is_served(checkout, os.fsdecode(name)))


def _is_served(checkout: Path, name: str) -> bool:
    path = checkout / name
    is_settings_file = path.name == ".env" or (path.name.startswith(".env.") and path.name != ".env.example")
    is_nested_repository = name.endswith("/")
    # A tracked file may have been deleted since.
    is_file = path.is_symlink() or path.is_file()
    return is_file and not is_settings_file and not is_nested_repository


def _missing_alternate(objects: Path) -> Path | None:
    alternates = objects / "info" / "alternates"
    if not alternates.is_file():
        return None
    lines = alternates.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    paths = (objects / line for line in lines if line and not line.startswith("#"))
    return next((path for path in paths if not path.is_dir()), None)


def _require_readable(path: Path, *, is_recursive: bool) -> None:
    """Raise with the first path at or below `path` that this process may not read."""
    try:
        details = path.lstat()
    except FileNotFoundError:
        return  # git tidied up meanwhile
    if stat.S_ISLNK(details.st_mode):
        return
    is_folder = stat.S_ISDIR(details.st_mode)
    if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
        raise CheckoutError(_unreadable_sentence(path, details))
    if is_folder and is_recursive:
        for entry in sorted(path.iterdir()):
            if not entry.name.startswith("tmp_"):  # git's own unfinished files; no clone reads them
                _require_readable(entry, is_recursive=True)


def _unreadable_sentence(path: Path, details: os.stat_result) -> str:
    owner, group, mode = details.st_uid, details.st_gid, stat.S_IMODE(details.st_mode)
    if owner == os.getuid():
        mend = "give its owner the right to read it: chmod -R u+rX in the checkout"
    else:
        mend = (
            f"set CHECKOUT_UID={owner} and CHECKOUT_GID={group} in .env,"
            " or let others read it: chmod -R go+rX in the checkout"
        )
    reader = f"user {os.getuid()}:{os.getgid()}"
    return f"cannot read {path} (owner {owner}:{group}, mode {mode:04o}) as {reader}; {mend}."


def _remove(target: Path) -> None:
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)


def _run(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git and return its output; a failure is this module's error, with git's last words."""
    result = _git(folder, *arguments, stdin=stdin)
    if result.returncode != 0:
        raise CheckoutError(f"git could not take a snapshot of {folder}: {_last_line(result.stderr)}")
    return result.stdout


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git in `folder`, apart from every setting of the user or of the process that started this one."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CEILING_DIRECTORIES": str(folder.parent),  # never a repository further up
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        # The checkout usually has another owner than this process, and it only gets read.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{role}_NAME"] = SNAPSHOT_AUTHOR
        environment[f"GIT_{role}_EMAIL"] = SNAPSHOT_EMAIL
        environment[f"GIT_{role}_DATE"] = SNAPSHOT_DATE
    try:
        return subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise CheckoutError("git was not found: install it, and see that it is on PATH.") from None


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"


def main(arguments: list[str]) -> int:
    """Publish CHECKOUT at TARGET and say how; 1 and a sentence when that is not possible."""
    if len(arguments) != 2:
        print("usage: snapshot.py CHECKOUT TARGET", file=sys.stderr)
        return 2
    checkout, target = Path(arguments[0]).absolute(), Path(arguments[1]).absolute()
    try:
        published = publish(checkout, target)
    except (CheckoutError, OSError) as error:
        print(f"git-server: {error}", file=sys.stderr)
        return 1
    print(f"git-server: {published.describe(checkout)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
