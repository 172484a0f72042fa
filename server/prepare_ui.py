#!/usr/bin/env python3
"""Unpacks Prefect's UI into a folder, so that the server need not do it at every start.

Usage: prepare_ui.py FOLDER      (then start the server with PREFECT_SERVER_UI_STATIC_DIRECTORY=FOLDER)

Prefect leaves a prepared folder as it is while its version and base path match. The UI asks for icons at its
root that Prefect ships in ``ico/`` only; they are put where the UI looks for them. Some files of the UI are
readable for their owner only as Prefect ships them; the server may run as another user, so all may read them.
"""

import os
import shutil
import sys
from pathlib import Path


def prepare(folder: Path) -> None:
    """Write both versions of the UI below the folder, as ``v1`` and ``v2``."""
    os.environ["PREFECT_SERVER_UI_STATIC_DIRECTORY"] = str(folder)
    os.environ["PREFECT_SERVER_UI_SERVE_BASE"] = "/"
    from prefect.server.api.server import create_ui_app  # reads the settings above when it is imported

    create_ui_app(ephemeral=False)
    for version in ("v1", "v2"):
        for icon in ("favicon.ico", "favicon-dark.ico"):
            source = folder / version / "ico" / icon
            if source.exists():
                shutil.copyfile(source, folder / version / icon)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("prepare_ui: name the folder to write to")
    prepare(Path(sys.argv[1]))
