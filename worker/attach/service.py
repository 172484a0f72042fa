"""Installs and uninstalls the worker as a service of this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

from attach import folder, systemd, windows_task
from attach.errors import AttachError
from attach.paths import Paths, python_of
from attach.process import environment_of
from attach.settings import Settings


def serve_command(settings: Settings, paths: Paths) -> list[str]:
    """Return the command with which a service runs the worker in the foreground."""
    python = python_of(environment_of(settings, paths))
    return [str(python), "-X", "utf8", str(paths.program), "serve", "--folder", str(paths.home)]


def check_possible(settings: Settings, run_as: str) -> None:
    """Check that this machine can run the worker as a service.

    Raises:
        AttachError: It cannot, or not for this user.
    """
    if sys.platform == "win32":
        return
    if not shutil.which("systemctl") or not Path("/run/systemd/system").is_dir():
        raise AttachError(
            "this machine has no systemd; let its own service manager run `attach run`, with the same options"
        )
    if settings.scope == "system":
        if os.geteuid() != 0:
            raise AttachError("--scope system needs root: run the same command with sudo")
        if not run_as:
            raise AttachError("--scope system: say with --run-as which user the flows run as")


def register(settings: Settings, paths: Paths, run_as: str) -> None:
    """Write the service's description, and start it now and with the machine.

    Raises:
        AttachError: The system refused.
    """
    command = serve_command(settings, paths)
    if sys.platform == "win32":
        text = windows_task.task(settings, paths, command, folder.user_name())
        Path(paths.task).write_text(text, encoding="utf-16")
        for start in windows_task.start_commands(settings.name, paths.task):
            _must(start, "a task for the machine's start needs an administrator's PowerShell")
        return
    if settings.scope == "system":
        folder.give_to(Path(paths.home), run_as)
    file = _unit_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(systemd.unit(settings, paths, command, run_as), encoding="utf-8")
    for start in systemd.start_commands(settings.name, settings.scope):
        _must(start, f"see `{' '.join(systemd.state_command(settings.name, settings.scope))}`")
    if settings.scope == "user":
        _run(systemd.linger_command(folder.user_name()))


def unregister(settings: Settings) -> None:
    """Disable the service and, on Linux, stop it."""
    if sys.platform == "win32":
        for command in windows_task.stop_commands(settings.name):
            _run(command)
        return
    for command in systemd.stop_commands(settings.name, settings.scope):
        _run(command)


def forget(settings: Settings) -> None:
    """Remove the stopped service's description."""
    if sys.platform == "win32":
        commands = windows_task.forget_commands(settings.name)
    else:
        _unit_file(settings).unlink(missing_ok=True)
        commands = systemd.forget_commands(settings.scope)
    for command in commands:
        _run(command)


def state(settings: Settings) -> str:
    """Return the service's state, in the system's own word or two."""
    if sys.platform == "win32":
        done = _run(windows_task.state_command(settings.name))
        return windows_task.state_of(done.stdout) if done.returncode == 0 else "not installed"
    return _run(systemd.state_command(settings.name, settings.scope)).stdout.strip() or "not installed"


def _unit_file(settings: Settings) -> Path:
    configured = os.environ.get("XDG_CONFIG_HOME")
    home = PurePosixPath(Path.home())
    return Path(
        systemd.unit_file(
            settings.name, settings.scope, home, PurePosixPath(configured) if configured else None
        )
    )


def _must(command: list[str], hint: str) -> None:
    done = _run(command)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise AttachError(f"`{' '.join(command)}` failed: {said}; {hint}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
