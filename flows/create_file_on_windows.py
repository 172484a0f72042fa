"""Create a text file through cmd.exe, on a worker of the Windows pool."""

import ntpath
import os
import re
import subprocess
import sys
from pathlib import Path

from prefect import flow

LONGEST_CMD_CHARACTERS = 8_000  # of a command and of a line that is echoed; the limit of cmd.exe is 8191
FORBIDDEN_IN_PATHS = '<>"|?*'


class FileCreationError(RuntimeError):
    """The file could not be created; the message says why."""


@flow(name="create-file-on-windows", flow_run_name="create {path!s:.60}", log_prints=True)
def create_file_on_windows(
    path: str = r"%TEMP%\created_by_prefect.txt",
    content: str = "Created by Prefect through cmd.exe",
) -> str:
    r"""Create a text file through cmd.exe, with every character of the content unchanged.

    An existing file is replaced. It needs Windows, so its deployment belongs to the work pool windows-pool.

    Args:
        path: The file to create; variables such as %TEMP% are those of the Windows worker.
        content: The text to write, in UTF-8; every line, even the last, ends with a Windows line break.

    Returns:
        The file's path on the worker.

    Raises:
        FileCreationError: The worker is not Windows, path or content cannot be used, or cmd.exe failed.
    """
    if sys.platform != "win32":
        raise FileCreationError(
            f"This flow needs Windows, and this worker runs on {sys.platform}:"
            " run its deployment on the work pool windows-pool, with a worker on a Windows machine."
        )
    file_path = os.path.expandvars(path)
    command, variables = build_command(file_path, content)
    done = subprocess.run(
        command,
        executable=os.environ["COMSPEC"],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        creationflags=subprocess.CREATE_NO_WINDOW,
        check=False,
    )
    if done.returncode != 0 or not Path(file_path).is_file():
        reason = " ".join(done.stderr.split()) or "it gave no reason"
        raise FileCreationError(
            f"cmd.exe could not create {file_path} (exit code {done.returncode}): {reason}"
        )
    print(f"Created {file_path}")
    return file_path


def build_command(path: str, content: str) -> tuple[str, dict[str, str]]:
    """Return the cmd.exe command line that writes the file, and the variables that it needs.

    Neither path nor content is part of the command line, in which cmd.exe would interpret characters such as
    & | < > ^ % ". It takes them from variables by delayed expansion (`/v:on`, `!NAME!`), whose values it does
    not interpret. `/d` skips AutoRun commands, `/s` strips only the outermost quotes.

    Raises:
        FileCreationError: The path or the content cannot be passed on unchanged.
    """
    lines = re.split(r"\r\n|\r|\n", content)
    if not lines[-1]:
        lines.pop()  # what follows the last line break is not a line
    _check(path, lines)
    variables = {"FILE_PATH": path} | {f"LINE_{number}": line for number, line in enumerate(lines) if line}
    # `echo(` writes an empty line; `echo` alone would print whether echoing is on.
    echoes = [f"echo(!LINE_{number}!" if line else "echo(" for number, line in enumerate(lines)]
    first, *others = echoes or ["type nul"]
    writes = "&&".join([f'>"!FILE_PATH!" {first}', *(f'>>"!FILE_PATH!" {echo}' for echo in others)])
    command = f'cmd.exe /d /v:on /s /c "chcp 65001>nul&{writes}"'
    if len(command) > LONGEST_CMD_CHARACTERS:
        raise FileCreationError(
            f"The content has {len(lines)} lines, more than one cmd.exe command can write."
        )
    return command, variables


def _check(path: str, lines: list[str]) -> None:
    bad = sorted({character for character in path if character in FORBIDDEN_IN_PATHS or character < " "})
    if bad:
        raise FileCreationError(
            f"The path {path!r} contains {' '.join(bad)!r}, which Windows file names cannot."
        )
    if not ntpath.basename(path):
        raise FileCreationError(f"The path {path!r} names no file; give one such as C:\\folder\\file.txt.")
    if any("\0" in line for line in lines):
        raise FileCreationError("The content contains a NUL character, which cmd.exe cannot write.")
    longest = max(map(len, lines), default=0)
    if longest > LONGEST_CMD_CHARACTERS:
        raise FileCreationError(
            f"A line of the content has {longest} characters; cmd.exe writes up to {LONGEST_CMD_CHARACTERS}."
        )


if __name__ == "__main__":
    create_file_on_windows()
