"""The code of the rollback, kept where the new release's files do not overwrite it.

`make upgrade` runs it as ``python3 .local/upgrade/code upgrade`` while the journal says that a switch was
interrupted, since the checkout's own code may then be half of each release.
"""

import shutil
from pathlib import Path

from local.errors import CommandError
from local.settings.platform import CHECKOUT, ROOT
from local.upgrade.journal import FOLDER

_NAMES = (
    "local",
    "worker/attach/platform_version.py",
    "worker/src/yeedu_worker/dotenv.py",
    "worker/src/yeedu_worker/printable.py",
)
_MAIN = f"""\
import os
from pathlib import Path

os.environ["{CHECKOUT}"] = str(Path(__file__).resolve().parents[3])

from local.__main__ import main

main()
"""


def keep(root: Path = ROOT, state: Path = FOLDER) -> None:
    """Keep a copy of the code.

    Args:
        root: The checkout.
        state: The folder of the copy.

    Raises:
        CommandError: It cannot be copied.
    """
    forget(state)
    scratch = state / "code.new"
    try:
        for name in _NAMES:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            if (root / name).is_dir():
                shutil.copytree(
                    root / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__", "tests")
                )
            else:
                shutil.copyfile(root / name, scratch / name)
        (scratch / "__main__.py").write_text(_MAIN, encoding="utf-8")
        scratch.replace(state / "code")
    except (OSError, shutil.Error) as error:
        raise CommandError(f"{root / 'local'} cannot be kept in {state}: {error}") from None


def forget(state: Path = FOLDER) -> None:
    """Delete the copy."""
    for name in ("code.new", "code"):
        shutil.rmtree(state / name, ignore_errors=True)
