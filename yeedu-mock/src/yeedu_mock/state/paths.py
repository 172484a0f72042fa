"""Paths of workspace files: keys to look up, never paths on the machine."""

from __future__ import annotations

from yeedu_mock.errors import BadRequestError

ROOT = "/"
MAX_PATH_CHARACTERS = 1000


def absolute(path: str) -> str:
    """Return a path in the only form in which files are stored: `/a/b`, or `/` for the root.

    Raises:
        BadRequestError: It leads upwards, is too long, or contains characters that no path may have.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise BadRequestError("A file's path must not lead upwards.")
    if "\\" in path or not path.isprintable():
        raise BadRequestError("A file's path must not hold backslashes or control characters.")
    if len(path) > MAX_PATH_CHARACTERS:
        raise BadRequestError(f"A file's path must not have more than {MAX_PATH_CHARACTERS} characters.")
    return ROOT + "/".join(parts)


def join(folder: str, name: str) -> str:
    """Return the path of something in a folder; both have the form of `absolute`."""
    return f"{folder.rstrip('/')}/{name.lstrip('/')}"


def parent_of(path: str) -> str:
    """Return the folder that a path is in."""
    return path.rpartition("/")[0] or ROOT


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is in a folder, at any depth."""
    return path != folder and path.startswith(join(folder, ""))
