"""The two forms of the platform, containers and local processes, as an upgrade handles them."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from local.console import Console
from local.containers.compose_mode import ComposeMode
from local.containers.docker import labels_of, remove_labelled
from local.containers.engine import Project
from local.containers.running import USERS, profiles_that_run, stop_users
from local.errors import CommandError
from local.install.virtual_environment import VENV
from local.ports import free_port
from local.processes.lock import exclusive
from local.processes.process_mode import ProcessMode
from local.processes.services import STATE
from local.settings.platform import ROOT, Settings
from local.upgrade.copies import Copy, PostgresCopy, SqliteCopy
from local.upgrade.journal import FOLDER, RELEASE


@dataclass(frozen=True)
class Need:
    """Disk space that an upgrade needs temporarily.

    Attributes:
        folder: Where it is needed.
        size_bytes: How much is needed.
        purpose: What it is needed for, in words.
    """

    folder: Path
    size_bytes: int
    purpose: str


class Form(Protocol):
    """One form of the platform."""

    name: str
    copy: Copy

    @property
    def mode(self) -> ComposeMode | ProcessMode:
        """What starts and stops the platform."""
        ...

    def unwell(self) -> list[str]:
        """Return what is not healthy, in words."""
        ...

    def is_deploying(self) -> bool:
        """Tell whether a deployer is running on this machine."""
        ...

    def needs(self) -> list[Need]:
        """Return the disk space that a trial and a switch need."""
        ...

    def profiles(self) -> tuple[str, ...]:
        """Return the profiles of running services that the settings do not ask for."""
        ...

    def stop(self) -> None:
        """Stop what uses the database, the worker first, since it hands its flow runs over."""
        ...

    def start_database(self) -> None:
        """Make sure that the copy can be put back."""
        ...

    def trial_variables(self) -> dict[str, str]:
        """Return the variables that keep the trial apart from the running platform."""
        ...

    def remove_trial(self) -> None:
        """Remove what a trial left, however it ended."""
        ...

    def keep_programs(self) -> None:
        """Keep the old release's programs for a rollback."""
        ...

    def put_programs_back(self) -> dict[str, str]:
        """Restore the kept programs; return the variables with which the old release starts from them."""
        ...


class Containers:
    """The compose project."""

    name = "containers"

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings, self._console = settings, console
        self._project = Project(settings)
        self.mode = ComposeMode(settings, console)
        self.copy: Copy = PostgresCopy(self._project)
        checkout = hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]
        self._trial = f"{self._project.name}-upgrade-trial-{checkout}"

    def unwell(self) -> list[str]:
        """Return the containers that are not ready."""
        return [f"{one.service} ({one})" for one in self._project.containers() if not one.is_ready]

    def is_deploying(self) -> bool:
        """Tell whether a container of the deployer runs, for `up` or for `make deploy`."""
        labels = (f"project={self._project.name}", "service=deployer")
        filters = [part for label in labels for part in ("--filter", f"label=com.docker.compose.{label}")]
        return bool(_docker("ps", "--quiet", *filters).stdout.strip())

    def needs(self) -> list[Need]:
        """Return the space for images as large as the current ones, and for copies of the database."""
        database = self.copy.size_bytes()
        images = sorted({str(item["Image"]) for item in self._project.inspected()})
        sizes = _docker("image", "inspect", "--format", "{{.Size}}", *images).stdout.split()
        found = [_checkouts(database)]
        root = Path(_docker("info", "--format", "{{.DockerRootDir}}").stdout.strip() or "/nonexistent")
        if root.is_dir():  # else it is in a virtual machine, whose disk grows by itself
            # Layers that images share are counted several times, so this demands more than is used.
            found.append(Need(root, sum(map(int, sizes)) // 2, "images of the new release"))
            found.append(Need(root, 3 * database, "copies of the database"))
        return [*found, *_temporary(database)]

    def profiles(self) -> tuple[str, ...]:
        """Return the profiles of running services that Compose would not start by itself.

        Raises:
            CommandError: Compose cannot read its files.
        """
        return profiles_that_run(self._project, self._settings)

    def stop(self) -> None:
        """Stop the containers in order, each with its own grace period."""
        stop_users(self._project, self._console)

    def start_database(self) -> None:
        """Start Postgres, in case the failure stopped it."""
        project = Project(self._settings, self.put_programs_back())
        if project.run("--progress", "quiet", "up", "--detach", "--no-build", "--wait", "postgres"):
            raise CommandError("postgres cannot be started; see the output above")

    def trial_variables(self) -> dict[str, str]:
        """Return variables for a project of its own, with the image names of the switch; refuse another's."""
        if other := self._other_folder():
            raise CommandError(f"the project {self._trial} was started from {other}; remove it there first")
        prefix = "" if self._settings.registry else self._project.name
        return {
            "COMPOSE_PROJECT_NAME": self._trial,
            "IMAGE_PREFIX": self._settings.get("IMAGE_PREFIX", prefix),
            "PREFECT_PORT": str(free_port()),  # not published, but checked
            "TLS_HTTP_PORT": str(free_port()),
            "YEEDU_MOCK_PORT": str(free_port()),
        }

    def remove_trial(self) -> None:
        """Remove the trial's containers, volumes and networks by their label, if they are the trial's."""
        if self._other_folder():
            return
        with suppress(CommandError):
            remove_labelled(self._trial)

    def _other_folder(self) -> str:
        """Return a folder other than the trial's that containers of the trial's project were started from."""
        folders = labels_of(self._trial, "working_dir", seconds=None)
        return next((one for one in folders if one != str(RELEASE)), "")

    def keep_programs(self) -> None:
        """Do nothing: image names contain the version, so both releases' images exist."""

    def put_programs_back(self) -> dict[str, str]:
        """Return variables that use the old images as they are, since a build may need what is gone."""
        return {"IMAGE_POLICY": "never"}


class Processes:
    """The local processes."""

    name = "local processes"

    def __init__(self, settings: Settings, console: Console) -> None:
        self.mode = ProcessMode(settings, console)
        self.copy: Copy = SqliteCopy(STATE / "server" / "prefect.db")
        self._kept = FOLDER / "venv"

    def unwell(self) -> list[str]:
        """Return the processes that do not answer."""
        return [one.name for one in self.mode.services() if not one.is_ready()]

    def is_deploying(self) -> bool:
        """Whether a command of this checkout holds the lock that a deployer runs under."""
        try:
            with exclusive(STATE / "lock"):
                return False
        except CommandError:
            return True

    def needs(self) -> list[Need]:
        """Return the space for another environment, and for copies of the database."""
        database = self.copy.size_bytes()
        found = [_checkouts(2 * database), Need(STATE, 2 * database, "copies of the database")]
        return [*found, Need(ROOT, size_of_files(VENV), "packages of the new release"), *_temporary(database)]

    def profiles(self) -> tuple[str, ...]:
        """Return none: all processes are always started."""
        return ()

    def stop(self) -> None:
        """Stop the processes in order; the worker gets its grace period."""
        self.mode.stop(USERS)

    def start_database(self) -> None:
        """Do nothing: SQLite's database is a file."""

    def trial_variables(self) -> dict[str, str]:
        """Return a port for the trial; everything else is in the clone's own folder."""
        return {"PREFECT_PORT": str(free_port()), "PREFECT_BIND_ADDRESS": "127.0.0.1"}

    def remove_trial(self) -> None:
        """Do nothing: the trial's only process ends with it, and its files are in the clone."""

    def keep_programs(self) -> None:
        """Keep the environment as hard links, since installing replaces files and never rewrites them."""
        shutil.rmtree(self._kept, ignore_errors=True)
        scratch = self._kept.with_name("venv.new")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            shutil.copytree(VENV, scratch, symlinks=True, copy_function=_link)
            scratch.replace(self._kept)
        except (OSError, shutil.Error) as error:
            raise CommandError(f"{VENV} cannot be kept in {FOLDER}: {error}") from None

    def put_programs_back(self) -> dict[str, str]:
        """Put the environment back if it was kept, so that nothing has to be installed."""
        if self._kept.exists():
            shutil.rmtree(VENV, ignore_errors=True)
            self._kept.replace(VENV)
        return {}


def _link(source: str, target: str) -> None:
    os.link(source, target, follow_symlinks=False)


def _checkouts(size_bytes: int) -> Need:
    return Need(ROOT / "backups", size_bytes, "the backup")


def _temporary(database: int) -> list[Need]:
    return [Need(Path(tempfile.gettempdir()), 2 * database, "making and reading the backup")]


def size_of_files(folder: Path) -> int:
    """Return the total size of a folder's files, in bytes."""
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
