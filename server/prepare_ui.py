#!/usr/bin/env python3
"""Unpacks Prefect's UI into a folder, so that the server need not do it at every start.

Usage: prepare_ui.py FOLDER      (then start the server with PREFECT_SERVER_UI_STATIC_DIRECTORY=FOLDER)

Prefect leaves a prepared folder as it is while its version and base path match. The UI asks for icons at its
root that Prefect ships in ``ico/`` only; they are put where the UI looks for them. Some files of the UI are
readable for their owner only as Prefect ships them; the server may run as another user, so all may read them.

One of the UIs tells a company that counts visits of each page, whatever the settings say, unless it has no
key for it: the key is taken out.
"""

import os
import re
import shutil
import sys
from pathlib import Path

# A function that returns nothing but the key, or, once it is gone, nothing; who calls it then does not go on.
_KEY = re.compile(r"(function \w+\(\)\{return)`(?:[0-9a-f]{32})?`\}")


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
    _leave_visits_uncounted(folder / "v2")
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def _leave_visits_uncounted(folder: Path) -> None:
    """Take the key out of the UI's code.

    Raises:
        RuntimeError: The code counts visits, and has its key elsewhere than expected.
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
