"""Verify that every file in a folder has a snake_case name."""

import re
from pathlib import Path

from prefect import flow

REPOSITORY = Path(__file__).resolve().parents[1]
# quarterly_report.csv, notes.txt, archive_2026.tar.gz
SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*(\.[a-z0-9]+)*")


class FileNameError(RuntimeError):
    """Some file names are not snake_case, or the folder cannot be verified."""


@flow(name="verify-file-names", flow_run_name="verify {folder!s:.60}", log_prints=True)
def verify_file_names(folder: str = "flows/content_files") -> int:
    """Verify that every file in a folder and below has a snake_case name.

    Such a name has lowercase words of letters and digits, joined by single underscores, starts with a letter
    and may end in extensions: `quarterly_report.csv`. Hidden files, which start with a dot, are ignored.

    Args:
        folder: The folder to verify: a path on the worker, or one relative to the flows' repository.

    Returns:
        The number of files that were verified.

    Raises:
        FileNameError: Some names are not snake_case (all of them are listed), or there is no such folder.
    """
    root = REPOSITORY / folder
    if not root.is_dir():
        raise FileNameError(f"There is no folder {root} on this worker; give `folder` one that exists.")
    files = [name for name in _list_files(root) if not _is_hidden(name)]
    invalid = [name for name in files if not SNAKE_CASE.fullmatch(name.name)]
    for name in invalid:
        print(f"not snake_case: {name}")
    if invalid:
        listing = ", ".join(str(name) for name in invalid)
        raise FileNameError(
            f"{len(invalid)} of {len(files)} file names in {folder} are not snake_case: {listing}"
        )
    if files:
        print(f"All {len(files)} file names in {folder} are snake_case.")
    else:
        print(f"There are no files in {folder}.")
    return len(files)


def _list_files(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*") if not path.is_dir())


def _is_hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


if __name__ == "__main__":
    verify_file_names()
