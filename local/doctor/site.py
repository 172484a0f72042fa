"""The platform as the checks see it: its settings, containers or processes, and server; each is read once."""

import io
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from local.api import PrefectApi
from local.console import Console
from local.containers.engine import Container, Engine, Project, container_of, find_engine
from local.doctor.lenient_settings import settings_of
from local.errors import CommandError
from local.install.virtual_environment import PROGRAMS
from local.processes.child_environment import child_environment
from local.processes.process_mode import ProcessMode
from local.processes.services import STATE
from local.settings.platform import ROOT, Settings

JSON = dict[str, Any]
T = TypeVar("T")
ENGINE_SECONDS, ANSWER_SECONDS, COMMAND_SECONDS = 3.0, 5.0, 6.0
_MAX_SECRETS_BYTES = 1 << 20


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, its output, and its error output."""

    code: int
    output: str = field(default="", repr=False)
    said: str = field(default="", repr=False)

    @property
    def reason(self) -> str:
        """The last line of its error output, else of its output."""
        lines = (self.said.strip() or self.output.strip()).splitlines()
        return lines[-1].strip() if lines else f"code {self.code}"


def ended(
    command: Sequence[str],
    *,
    content: str = "",
    seconds: float = COMMAND_SECONDS,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
) -> Ended:
    """Run a command until it ends or times out, and return how it ended; never raise."""
    try:
        done = subprocess.run(
            list(command),
            input=content,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            cwd=folder,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        return Ended(127, said=f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return Ended(124, said=f"no answer in {seconds:g} s")
    except OSError as error:
        return Ended(126, said=str(error))
    return Ended(done.returncode, done.stdout, done.stderr)


def once(query: "Callable[[Site], T]") -> "Callable[[Site], T]":
    """Answer a query of a site once, however many threads ask; repeat a query that raised."""
    name = f"{query.__module__}.{query.__qualname__}"

    @wraps(query)
    def asked(site: "Site") -> T:
        with site.locks.setdefault(name, threading.Lock()):
            if name not in site.answers:
                site.answers[name] = query(site)
            return site.answers[name]

    return asked


class Site:
    """What the checks examine.

    Args:
        settings: The platform's settings.
        engine: The Docker engine.
        items: Its description of each of the project's containers (``docker inspect``).
        is_process_form: Whether the platform runs as local processes.
        root: The checkout.
        state: The folder that holds the state of local processes.
        trouble: Why settings or containers could not be read; empty if they could.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        items: Sequence[JSON] = (),
        *,
        is_process_form: bool = False,
        root: Path = ROOT,
        state: Path = STATE,
        trouble: str = "",
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.items = list(items)
        self.is_process_form = is_process_form
        self.root = root
        self.state = state
        self.trouble = trouble
        self.locks: dict[str, threading.Lock] = {}
        self.answers: dict[str, Any] = {}

    @classmethod
    def read(cls, root: Path = ROOT) -> "Site":
        """Find out which form of the platform is here, within twelve seconds."""
        settings, trouble = settings_of(root)
        engine = find_engine(ENGINE_SECONDS)
        items: list[JSON] = []
        is_process_form = False
        try:
            processes = ProcessMode(settings, Console())
            is_process_form = processes.is_up()
            if engine.is_usable and not is_process_form:
                items = Project(settings).inspected(ENGINE_SECONDS)
            is_process_form = is_process_form or (not items and processes.exists())
        except CommandError as error:
            trouble = trouble or str(error)
        return cls(settings, engine, items, is_process_form=is_process_form, root=root, trouble=trouble)

    @property
    def form(self) -> str:
        """How the platform runs here: ``containers``, ``processes``, or ``none``."""
        return "containers" if self.items else "processes" if self.is_process_form else "none"

    @cached_property
    def containers(self) -> list[Container]:
        """The project's containers, in the order in which they started."""
        return sorted(map(container_of, self.items), key=lambda one: one.started_at)

    @cached_property
    def project(self) -> Project:
        """The Compose project."""
        return Project(self.settings)

    @once
    def info(self) -> JSON:
        """Return the engine's description of its machine; empty if it does not answer."""
        if not self.engine.is_usable:
            return {}
        try:
            return json.loads(ended(["docker", "info", "--format", "{{json .}}"]).output)
        except ValueError:
            return {}

    def item(self, service: str) -> JSON | None:
        """Return the engine's description of a service's container, of a running one if there is any."""
        found = [one for one in self.items if container_of(one).service == service]
        return next(iter(sorted(found, key=lambda one: one["State"]["Status"] != "running")), None)

    def runs(self, service: str) -> bool:
        """Tell whether a service has a running container."""
        item = self.item(service)
        return item is not None and item["State"]["Status"] == "running"

    def inside(
        self, service: str, *command: str, content: str = "", seconds: float = COMMAND_SECONDS
    ) -> Ended:
        """Run a command in a service's container, which must be running."""
        item = self.item(service)
        if item is None:
            return Ended(126, said=f"there is no container {service}")
        how = ["docker", "exec", "--interactive", item["Id"]]
        return ended([*how, *command], content=content, seconds=seconds, folder=self.root)

    def where_flows_run(self, program: Path, content: str, seconds: float = COMMAND_SECONDS) -> Ended | None:
        """Run a Python file of `local.doctor.inside` as the worker would, with its packages and its network.

        Args:
            program: The file.
            content: Its standard input, secrets included, since nobody else sees them there.
            seconds: How long it may take.

        Returns:
            How it ended; None if there is neither a worker's container nor an environment on this machine.
        """
        source = program.read_text(encoding="utf-8")
        if self.runs("worker"):
            command = ("with-secrets", "python", "-c", source)
            return self.inside("worker", *command, content=content, seconds=seconds)
        python = PROGRAMS / "python"
        if not python.exists():
            return None
        launcher = ROOT / "server" / "with_secrets.py"
        names = {"FLOWS_GIT_SSH_KEY_FILE": "ssh-key", "FLOWS_GIT_KNOWN_HOSTS_FILE": "known-hosts"}
        files = {
            setting: self.settings.path(setting) or self.state / "secrets" / "git" / name
            for setting, name in names.items()
        }
        own = {setting: str(file) for setting, file in files.items() if file.exists()}
        own["CA_CERT_FILE"] = str(self.settings.ca_file() or os.devnull)
        command = [str(python), str(launcher), str(python), "-c", source]
        with TemporaryDirectory() as home:  # for copies of the key and the certificates
            environment = {**child_environment(os.environ, PROGRAMS), **own, "PREFECT_HOME": home}
            return ended(command, content=content, seconds=seconds, environment=environment, folder=self.root)

    @cached_property
    def api(self) -> PrefectApi:
        """The server's API.

        Raises:
            CommandError: The file that should hold the login cannot be read.
        """
        return PrefectApi.of(self.settings, timeout_seconds=ANSWER_SECONDS)

    @once
    def server(self) -> str:
        """Return why the server cannot be asked; an empty string when it answers and takes the login."""
        try:
            self.api.post("/work_pools/filter", {"limit": 1})
        except Exception as error:  # noqa: BLE001 - whatever it is, the server cannot be asked
            return str(error)
        return ""

    @once
    def secrets(self) -> dict[str, str]:
        """Return the platform's own secrets, even empty ones, by folder and name (``deployer/git-token``).

        Raises:
            CommandError: There is a platform, but its secrets cannot be read.
        """
        if self.form != "containers":
            return self.kept_secrets()
        item = self.item("secrets")
        if item is None:
            raise CommandError("the container `secrets` is gone; `make up` makes it again")
        copy = ["docker", "cp", f"{item['Id']}:/run/platform", "-"]  # works with an ended container too
        try:
            done = subprocess.run(copy, capture_output=True, timeout=ENGINE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandError(f"docker cp: {type(error).__name__}") from None
        if done.returncode or len(done.stdout) > _MAX_SECRETS_BYTES:
            raise CommandError(f"docker cp: {done.stderr.decode(errors='replace').strip()}")
        return _texts(done.stdout)

    def kept_secrets(self) -> dict[str, str]:
        """Return the secrets of local processes, whose logs outlive them; raise as `secrets` does."""
        files = (self.state / "secrets").glob("*/*")
        try:
            return {f"{one.parent.name}/{one.name}": one.read_text("utf-8").strip() for one in files}
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"the secrets of local processes cannot be read: {error}") from None

    @once
    def unknown(self) -> str:
        """Return why there may be secrets that cannot be masked; an empty string when all are known.

        If there may be, no output of containers and processes may be shown or packed.
        """
        try:
            self.secrets()
            self.kept_secrets()
        except CommandError as error:
            return str(error)
        return self.trouble


def _texts(content: bytes) -> dict[str, str]:
    """Return the files of a tar archive of the folder `platform`."""
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)):
                found[member.name.partition("/")[2]] = file.read().decode(errors="replace").strip()
    return found
