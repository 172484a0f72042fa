"""Offers a checkout of this repository for cloning: live if possible, else as a snapshot.

Live means that the published path is a symbolic link to the checkout, so a clone gets the commit that HEAD
names at that moment. A snapshot is a new repository with one commit, for checkouts whose history is missing
or empty: of the tracked files, or without a commit, of those in the folders of flows. Needs only the standard
library and git, so that the container and the local processes can share it:

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

# What a clone reads of a repository; hooks, logs and the index may be unreadable.
_SERVED_NAMES = (
    *("HEAD", "config", "config.worktree", "objects"),
    *("packed-refs", "refs", "reftable", "shallow"),
)

# Without a commit: all that may be needed of a checkout to run its flows.
_KNOWN_PATHS = ("deployer", "flows", "prefect.yaml", "pyproject.toml", "requirements.txt")
# Settings of a machine, in any spelling and with an editor's additions; `.env.example` is not one.
_SETTINGS_NAME = re.compile(r"^(?!\.env\.example$)([.#]*\.env|.*\.env($|[^a-z]))")
# Programs' names for files with keys and passwords; source code may have such words in its name.
_SECRET_NAME = re.compile(
    r"^id_(rsa|dsa|ecdsa|ed25519)|^\.?(netrc|pgpass|pypirc|npmrc|htpasswd|git-credentials)"
    r"|\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|gpg|age)$"
    r"|(^|[^a-z])(password|passwd|secret|credential|token)s?(?=$|[^a-z])(?!.*\.(py|sql|ipynb|md)$)"
)
_KEY_WITHIN = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY")


class CheckoutError(Exception):
    """The checkout cannot be served at all; the message says why and what to do."""


@dataclass(frozen=True)
class Published:
    """What `publish` did.

    Attributes:
        target: The path to clone from.
        snapshot_reason: Why it is a snapshot; `None` when it is live.
        held_back: Files that a snapshot leaves out because of the secrets that they may hold.
    """

    target: Path
    snapshot_reason: str | None
    held_back: tuple[str, ...] = ()

    def describe(self, checkout: Path) -> str:
        """Return a line for the log that says what clones will get."""
        if self.snapshot_reason is None:
            return f"serving {checkout} live: a clone gets the commit that HEAD names at that moment"
        said = (
            f"serving a snapshot of the files in {checkout} as they are now, because {self.snapshot_reason};"
            " restart to serve later changes"
        )
        held_back = ", ".join(map(repr, self.held_back))
        return f"{said}; held back as possible secrets: {held_back}" if held_back else said


def publish(checkout: Path, target: Path) -> Published:
    """Make `target` a repository to clone from: a link to the checkout, or a snapshot of its files.

    Args:
        checkout: The folder that holds the flows, usually with a `.git`.
        target: Where to publish; replaced if it exists.

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
        return Published(target, None)
    return Published(target, reason, take_snapshot(checkout, target))


def why_not_live(checkout: Path) -> str | None:
    """Return why the checkout's own repository cannot be served, or `None` if it can.

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


def take_snapshot(checkout: Path, target: Path) -> tuple[str, ...]:
    """Create a bare repository at `target` with one commit of the checkout's files; return those held back.

    It holds the tracked files, or without a commit, those in the folders of flows that no .gitignore
    excludes; never a `.env` or a nested repository, and no untracked file that may hold a key. Author and
    date are fixed: the same files always give the same commit.

    Raises:
        CheckoutError: A file cannot be read, or there is none to serve.
    """
    _run(target.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(target))
    tracked = _tracked_files(checkout)
    names = _files_of_flows(checkout, target) if tracked is None else tracked
    served, held_back = list[bytes](), list[str]()
    for name in sorted(names):
        file = checkout / os.fsdecode(name)
        if not (file.is_symlink() or file.is_file()):  # a nested repository, or gone since it was committed
            continue
        if _may_hold_secrets(file, is_tracked=tracked is not None):
            held_back.append(os.fsdecode(name))
        else:
            served.append(name)
    if not served:
        looked = "is committed" if tracked is not None else f"is in {', '.join(_KNOWN_PATHS)}"
        raise CheckoutError(f"{checkout} holds no file to serve, nothing {looked}: is it the right checkout?")
    in_snapshot = (f"--git-dir={target}", f"--work-tree={checkout}")
    _run(checkout, *in_snapshot, "update-index", "--add", "-z", "--stdin", stdin=b"\0".join(served) + b"\0")
    tree = _run(checkout, *in_snapshot, "write-tree").strip().decode()
    commit = _run(checkout, *in_snapshot, "commit-tree", tree, "-m", "Snapshot of the checkout").strip()
    _run(checkout, *in_snapshot, "update-ref", "refs/heads/main", commit.decode())
    return tuple(held_back)


def _tracked_files(checkout: Path) -> set[bytes] | None:
    """Return the names of committed, or if unreadable, staged files; `None` if there is no commit."""
    if _git(checkout, "rev-parse", "--quiet", "--verify", "HEAD").returncode != 0:
        return None
    listing = _git(checkout, "ls-tree", "-r", "-z", "--full-tree", "HEAD")
    if listing.returncode != 0:
        listing = _git(checkout, "ls-files", "-z", "--stage")
    entries = [line.partition(b"\t") for line in listing.stdout.split(b"\0") if line]
    return {name for details, _, name in entries if not details.startswith(b"160000 ")}  # no submodules


def _files_of_flows(checkout: Path, target: Path) -> set[bytes]:
    """Return the names of files in the folders of flows that no .gitignore excludes."""
    asked = ("ls-files", "-z", "--others", "--exclude-standard", "--", *_KNOWN_PATHS)
    listing = _git(checkout, f"--git-dir={target}", f"--work-tree={checkout}", *asked)
    hidden = re.search(rb"could not open directory '(.+)'", listing.stderr)
    if hidden:
        _require_readable(checkout / os.fsdecode(hidden[1]), is_recursive=False)
    return {name for name in listing.stdout.split(b"\0") if name}


def _may_hold_secrets(file: Path, *, is_tracked: bool) -> bool:
    """Tell by name and first bytes whether it may; a tracked file is meant to be seen, unless a `.env`."""
    name = file.name.casefold()
    if _SETTINGS_NAME.search(name) or (not is_tracked and _SECRET_NAME.search(name)):
        return True
    _require_readable(file, is_recursive=False)
    if is_tracked or file.is_symlink():
        return False
    with file.open("rb") as opened:
        return _KEY_WITHIN.search(opened.read(4096)) is not None


def _missing_alternate(objects: Path) -> Path | None:
    alternates = objects / "info" / "alternates"
    if not alternates.is_file():
        return None
    lines = alternates.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    paths = (objects / line for line in lines if line and not line.startswith("#"))
    return next((path for path in paths if not path.is_dir()), None)


def _require_readable(path: Path, *, is_recursive: bool) -> None:
    """Raise `CheckoutError` for the first path at or below `path` that this process may not read."""
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
    """Run git and return its output; raise `CheckoutError` with git's last line if it fails."""
    result = _git(folder, *arguments, stdin=stdin)
    if result.returncode != 0:
        raise CheckoutError(f"git could not take a snapshot of {folder}: {_last_line(result.stderr)}")
    return result.stdout


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git in `folder`, without any setting of the user or of the parent process."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CEILING_DIRECTORIES": str(folder.parent),  # never a repository in a parent folder
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        # The checkout usually has another owner than this process, which only reads it.
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
    """Publish CHECKOUT at TARGET and print how; return 1 after printing a sentence if that is impossible."""
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
