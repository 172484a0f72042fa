"""Creates, fills and removes the worker's folder on this machine."""

import getpass
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attach import windows_task
from attach.errors import AttachError
from attach.paths import Paths

if sys.platform != "win32":
    import pwd

PROGRAM = Path(__file__).parent
CHECKOUT = PROGRAM.parents[1]
_REMOVE_SECONDS = 20.0


def user_name() -> str:
    """Return the user who runs this program, with the domain on Windows."""
    if sys.platform == "win32":
        return f"{os.environ.get('USERDOMAIN', '.')}\\{os.environ.get('USERNAME') or getpass.getuser()}"
    return getpass.getuser()


def make_home(paths: Paths) -> None:
    """Create the worker's folder, private to its user.

    Raises:
        AttachError: It cannot be created, or holds something else, which detaching would delete.
    """
    home = Path(paths.home)
    try:
        is_new = not home.exists()
        home.mkdir(parents=True, exist_ok=True)
        if any(home.iterdir()) and not Path(paths.settings).exists():
            raise AttachError(f"{home} holds something else; give --folder a new folder")
        if sys.platform != "win32":
            home.chmod(0o700)
        elif is_new:
            command = windows_task.privacy_command(home, user_name())
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise AttachError(
            f"the folder {home} cannot be made ({error}); give another one with --folder"
        ) from None


def fill_home(paths: Paths) -> None:
    """Create the folders that the worker writes to."""
    for folder in (paths.prefect, paths.temporary, paths.log.parent):
        Path(folder).mkdir(exist_ok=True)


def copy_program(paths: Paths) -> None:
    """Copy this program into the worker's folder, for its service."""
    target = Path(paths.program)
    if target == PROGRAM:
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(PROGRAM, target, ignore=shutil.ignore_patterns("__pycache__", "tests"))


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, from the first byte on."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(
        os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as stream:
        stream.write(text)
    part.replace(file)


if sys.platform != "win32":

    def give_to(home: Path, user: str) -> None:
        """Give the folder, with everything in it, to another user.

        Raises:
            AttachError: There is no such user, or this one may not give it away.
        """
        try:
            entry = pwd.getpwnam(user)
            for path in (home, *home.rglob("*")):
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        except (OSError, KeyError) as error:
            raise AttachError(f"{home} cannot be given to {user}: {error}; check --run-as") from None


def remove(home: Path, say: Callable[[str], None]) -> None:
    """Delete the worker's folder, retrying while a program that is just ending holds a file.

    Raises:
        AttachError: Part of it is still there.
    """
    deadline = time.monotonic() + _REMOVE_SECONDS
    while home.exists():
        shutil.rmtree(home, onerror=_retry_writable)
        if home.exists() and time.monotonic() > deadline:
            raise AttachError(f"{home} cannot be deleted; close what uses it, and delete it by hand")
        if home.exists():
            time.sleep(0.5)
    say(f"removed {home}")


def _retry_writable(function: Callable[..., object], path: str, _error: object) -> None:
    """Make a path writable, and retry: Windows deletes no read-only files, as git's packs are."""
    try:
        Path(path).chmod(stat.S_IRWXU)
        function(path)
    except OSError:
        pass
