"""The paths of one attached worker: all in one folder, so that detaching removes it as a whole."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.")  # Windows allows no such file name


@dataclass(frozen=True)
class Paths:
    """The files of one worker, as paths of either system, so that one system can describe the other.

    Attributes:
        home: The worker's folder. Names in it are short, because Windows limits a path to 260 characters.
    """

    home: PurePath

    @property
    def is_windows(self) -> bool:
        """Whether these are paths on a Windows machine."""
        return isinstance(self.home, PureWindowsPath)

    @property
    def environment(self) -> PurePath:
        """The worker's Python environment."""
        return self.home / "env"

    @property
    def program(self) -> PurePath:
        """The copy of this program that the service starts, so that the checkout may be deleted."""
        return self.home / "program" / "attach"

    @property
    def settings(self) -> PurePath:
        """The settings that the worker was attached with."""
        return self.home / "settings.json"

    @property
    def auth_string(self) -> PurePath:
        """The login of the server's API, readable only by the worker's user."""
        return self.home / "auth-string"

    @property
    def api_key(self) -> PurePath:
        """The key of the server's API, readable only by the worker's user."""
        return self.home / "api-key"

    @property
    def prefect(self) -> PurePath:
        """Prefect's own folder."""
        return self.home / "prefect"

    @property
    def temporary(self) -> PurePath:
        """Where flow repositories are cloned to, one folder for each run."""
        return self.home / "t"

    @property
    def log(self) -> PurePath:
        """The newest of the rotated log files."""
        return self.home / "logs" / "worker.log"

    @property
    def lock(self) -> PurePath:
        """Locked while the worker runs; contains the number of the process that holds it."""
        return self.home / "lock"

    @property
    def stop_request(self) -> PurePath:
        """Asks the running worker to stop, by existing."""
        return self.home / "stop"

    @property
    def task(self) -> PurePath:
        """The description of the scheduled task, on Windows."""
        return self.home / "task.xml"


def programs_of(environment: PurePath) -> PurePath:
    """Return the folder of a Python environment's programs."""
    return environment / ("Scripts" if isinstance(environment, PureWindowsPath) else "bin")


def python_of(environment: PurePath) -> PurePath:
    """Return the interpreter of a Python environment."""
    return programs_of(environment) / ("python.exe" if isinstance(environment, PureWindowsPath) else "python")


def default_parent(variables: Mapping[str, str], *, windows: bool, system: bool) -> PurePath:
    """Return the folder that holds all workers' folders.

    Args:
        variables: The user's environment.
        windows: Whether this is a Windows machine.
        system: Whether the worker belongs to the machine rather than to its user.
    """
    if windows:
        profile = PureWindowsPath(variables.get("USERPROFILE") or r"C:\Users\Default")
        local = variables.get("LOCALAPPDATA")
        return (PureWindowsPath(local) if local else profile / "AppData" / "Local") / "yeedu"
    if system:
        return PurePosixPath("/var/lib/yeedu-worker")
    data = PurePosixPath(variables.get("XDG_DATA_HOME") or "")
    if data.is_absolute():
        return data / "yeedu-worker"
    return PurePosixPath(variables.get("HOME") or "/root") / ".local" / "share" / "yeedu-worker"


def is_usable_name(name: str) -> bool:
    """Tell whether a worker may have this name, which also names a folder and a service."""
    return bool(_NAME.fullmatch(name)) and not _RESERVED.fullmatch(name)


def name_of_host(host: str) -> str:
    """Return the default name of a worker: the host's, without its domain."""
    name = re.sub(r"[^a-z0-9_-]+", "-", host.lower().split(".")[0]).strip("-_")
    return name if is_usable_name(name) else f"worker-{name}".rstrip("-")
