"""Finds the lock files of extra packages for flows, and detects a list that is not locked.

It imports nothing of this repository and is also a program, since every way of making a worker's environment
uses it: the image builds, the installation of local processes, and `attach`.

    python requirement_locks.py CHECKOUT EXTRAS [CONFIG_DIR]    prints the arguments for `uv pip install`
    python requirement_locks.py CHECKOUT --digest [CONFIG_DIR]  prints what `make lock` writes into the lock
"""

import hashlib
import re
import sys
from pathlib import Path

LIST = "flows/requirements.txt"
LOCK = "requirements/flows.txt"
OWN_LIST, OWN_LOCK = "requirements.txt", "requirements.lock"  # in CONFIG_DIR; they replace these two
EXTRAS = "requirements/extras"
_COMMENT = re.compile(r"(^|\s)#.*")
_WITHOUT_HASH = re.compile(r"(git|hg|svn|bzr)\+|file:")
_DIGEST = re.compile(r"(?m)^# .*\bdigest ([0-9a-f]{16})\b")
_PACKAGE = re.compile(r"(?m)^[a-zA-Z0-9]")


class LockError(Exception):
    """A list or an extra cannot be used; the message is for people."""


def further_locks(checkout: Path, extras: str, config: Path | None = None) -> list[Path]:
    """Return the locks to install besides the worker's own: those of the chosen extras and the flows' list.

    Args:
        checkout: This repository.
        extras: Names of extras, separated by commas; empty for none.
        config: The team's folder, whose list, if it has one, replaces the repository's.

    Raises:
        LockError: There is no such extra, or the list has changed since it was locked.
    """
    chosen = [_extra(checkout, name) for name in names_of(extras)]
    lock = _locked_list(checkout, config)
    return [*chosen, lock] if _PACKAGE.search(lock.read_text(encoding="utf-8")) else chosen


def names_of(extras: str) -> list[str]:
    """Return the names of extras, each once."""
    return [name for name in dict.fromkeys(part.strip() for part in extras.split(",")) if name]


def list_and_lock(checkout: Path, config: Path | None) -> tuple[Path, Path]:
    """Return the flows' list and its lock, whether or not they exist."""
    if config and (config / OWN_LIST).exists():
        return config / OWN_LIST, config / OWN_LOCK
    return checkout / LIST, checkout / LOCK


def digest(checkout: Path, config: Path | None = None) -> str:
    """Return a digest of the flows' list that ignores comments and line endings.

    Raises:
        LockError: The list cannot be read, or has a line that cannot be locked.
    """
    return hashlib.sha256("\n".join(_requirements(checkout, config)).encode()).hexdigest()[:16]


def _extra(checkout: Path, name: str) -> Path:
    lock = checkout / EXTRAS / f"{name}.txt"
    names = sorted(file.stem for file in (checkout / EXTRAS).glob("*.txt"))
    if name in names:
        return lock
    if lock.with_suffix(".in").exists():
        raise LockError(f"{EXTRAS}/{name}.in is not locked yet; run `make lock`")
    raise LockError(f"there is no extra {name!r}; {EXTRAS}/ has: {', '.join(names) or 'none'}")


def _locked_list(checkout: Path, config: Path | None) -> Path:
    """Return the list's lock, provided that it was compiled from the present list."""
    source, lock = list_and_lock(checkout, config)
    try:
        found = _DIGEST.search(lock.read_text(encoding="utf-8"))
    except OSError:
        found = None
    if not found or found[1] != digest(checkout, config):
        raise LockError(f"{shown(source, checkout)} has changed since `make lock`; run it")
    return lock


def shown(file: Path, checkout: Path) -> str:
    """Return a file's path for messages: relative to the checkout if it is inside."""
    return file.relative_to(checkout).as_posix() if file.is_relative_to(checkout) else str(file)


def _requirements(checkout: Path, config: Path | None) -> list[str]:
    file, _ = list_and_lock(checkout, config)
    name = shown(file, checkout)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise LockError(f"{name} is missing, or no UTF-8 text; `git checkout {name}` gets it back") from None
    lines = [_COMMENT.sub("", line).strip() for line in text.splitlines()]
    for number, line in enumerate(lines, start=1):
        if line and not _PACKAGE.match(line):
            raise LockError(f"{name}, line {number}: {line!r} is no requirement; write one on each line")
        if _WITHOUT_HASH.search(line):
            raise LockError(
                f"{name}, line {number}: {line!r} has no hash; name a package, or the address of a wheel"
            )
    return [line for line in lines if line]


def main() -> None:
    """Print what was asked for, or exit with one sentence and code 1."""
    checkout, asked = Path(sys.argv[1]), sys.argv[2]
    config = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    try:
        if asked == "--digest":
            print(digest(checkout, config))
        else:
            print(*(f"-r {lock}" for lock in further_locks(checkout, asked, config)))
    except LockError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
