#!/usr/bin/env python3
"""Unpacks Prefect's UI into a folder, so that the server does not have to at every start.

Usage: prepare_ui.py FOLDER      (then start the server with PREFECT_SERVER_UI_STATIC_DIRECTORY=FOLDER)

Prefect leaves a prepared folder alone while its version and base path match. The UI requests icons at its
root that Prefect ships only in ``ico/``; they are copied there. Prefect ships some files of the UI readable
only for their owner; everybody may read them here, since the server may run as another user.

One of the UIs reports each page visit to an analytics company, whatever the settings say, unless it has no
key for it: the key is removed.
"""

import os
import re
import shutil
import sys
from pathlib import Path

# A function that only returns the key, or, once that is removed, an empty text, at which its caller stops.
_KEY = re.compile(r"(function \w+\(\)\{return)`(?:[0-9a-f]{32})?`\}")


def prepare(folder: Path) -> None:
    """Write both versions of the UI into the folder, as ``v1`` and ``v2``."""
    os.environ["PREFECT_SERVER_UI_STATIC_DIRECTORY"] = str(folder)
    os.environ["PREFECT_SERVER_UI_SERVE_BASE"] = "/"
    from prefect.server.api.server import create_ui_app  # reads the settings above on import

    create_ui_app(ephemeral=False)
    for version in ("v1", "v2"):
        for icon in ("favicon.ico", "favicon-dark.ico"):
            source = folder / version / "ico" / icon
            if source.exists():
                shutil.copyfile(source, folder / version / icon)
    _leave_visits_uncounted(folder / "v2")
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _leave_visits_uncounted(folder: Path) -> None:
    """Remove the key from the UI's code.

    Raises:
        RuntimeError: The code counts visits, but its key is not where it is expected.
    """
    for file in (folder / "assets").glob("*.js"):
        code = file.read_text(encoding="utf-8")
        if "api2.amplitude.com" not in code:
            continue
        without, count = _KEY.subn(r"\1``}", code)
        if not count:
            raise RuntimeError(f"{file.name} counts visits; find its key, and let prepare_ui take it out")
        file.write_text(without, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("prepare_ui: name the folder to write to")
    prepare(Path(sys.argv[1]))
