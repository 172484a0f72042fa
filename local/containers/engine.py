"""The Docker engine, and the containers of the Compose project with their states."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from local.bundle.bundle import has_bundle
from local.containers.docker import ANSWER_SECONDS, PROJECT_LABEL, SERVICE_LABEL, ask, labels_of, of_project
from local.errors import CommandError
from local.settings.platform import ROOT, Settings, environment_of_commands
from local.settings.scale import scale_variables

NEEDED_COMPOSE = (2, 24)
PROJECT = "yeedu-prefect"  # `name:` of docker-compose.yaml
_ONE_OFF_LABEL = "com.docker.compose.oneoff"


@dataclass(frozen=True)
class Engine:
    """The versions of the engine and of Compose that answered, or the reason why none can be used."""

    description: str
    is_usable: bool


def find_engine(seconds: float = ANSWER_SECONDS) -> Engine:
    """Look for a Docker engine and Compose; wait at most `seconds` for each."""
    info = ask("docker", "info", "--format", "{{.ServerVersion}}", seconds=seconds)
    version = info.stdout.strip()
    if info.returncode or not version:
        return Engine(f"no Docker engine answers ({_reason(info.stderr)})", is_usable=False)
    compose = ask("docker", "compose", "version", "--short", seconds=seconds)
    numbers = tuple(int(part) for part in re.findall(r"\d+", compose.stdout)[:2])
    if compose.returncode or numbers < NEEDED_COMPOSE:
        needed = ".".join(map(str, NEEDED_COMPOSE))
        found = f"is {compose.stdout.strip()}" if numbers else "does not answer"
        return Engine(f"Docker Compose {found} ({needed} or newer is needed)", is_usable=False)
    return Engine(f"Docker {version} with Compose {compose.stdout.strip()}", is_usable=True)


def _reason(stderr: str) -> str:
    """Return the last meaningful line, without Docker's decoration."""
    lines = [line.strip().removeprefix("ERROR: ") for line in stderr.splitlines()]
    told = [line for line in lines if line and line != "errors pretty printing info"]
    return told[-1].rstrip(".") if told else "no answer"


@dataclass(frozen=True)
class Container:
    """A container of the project, as of the query."""

    id: str
    service: str
    status: str
    exit_code: int
    health: str
    started_at: str
    is_one_shot: bool
    ports: frozenset[int]
    health_output: str = ""

    @property
    def is_on(self) -> bool:
        """Whether it runs, or is about to run again."""
        return self.status not in {"created", "exited", "dead"}

    @property
    def is_ready(self) -> bool:
        """Whether it did its work (a one-shot), or is healthy."""
        if self.is_one_shot:
            return self.status == "exited" and self.exit_code == 0
        return self.status == "running" and self.health in {"healthy", ""}

    @property
    def has_failed(self) -> bool:
        """Whether it ended when it should not have, or is unhealthy."""
        if self.status in {"exited", "dead"}:
            return not self.is_one_shot or self.exit_code != 0
        return self.status == "restarting" or self.health == "unhealthy"

    def __str__(self) -> str:
        if self.status == "exited":
            return (
                "done" if self.is_one_shot and self.exit_code == 0 else f"exited with code {self.exit_code}"
            )
        if self.status == "running" and not self.is_one_shot:
            return self.health or "running"
        return self.status


class Project:
    """The compose project: its name is ``COMPOSE_PROJECT_NAME``, else the compose file's own.

    Args:
        settings: The platform's settings.
        more: Settings that take precedence over those of ``.env``.
    """

    def __init__(self, settings: Settings, more: Mapping[str, str] | None = None) -> None:
        self.name = settings.get("COMPOSE_PROJECT_NAME", PROJECT)
        self._environment = {
            **(environment_of_commands() | scale_variables(settings.values, ROOT)),
            **(more or {}),
            **({"IMAGE_POLICY": "never"} if has_bundle() else {}),  # a bundle has every image
            "COMPOSE_PROJECT_NAME": self.name,
            # An attestation makes every build a new image, for which Compose before 5.5 replaces containers.
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }

    def compose(self, *arguments: str, output: IO[str] | None = None) -> subprocess.Popen[str]:
        """Start ``docker compose`` in the checkout, with its output shown or written to a file."""
        return subprocess.Popen(
            ["docker", "compose", *arguments],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
        )

    def run(self, *arguments: str) -> int:
        """Run ``docker compose`` with its output shown, and return its exit code."""
        return self.compose(*arguments).wait()

    def lines(self, *arguments: str) -> Iterator[str]:
        """Yield each line that ``docker compose`` prints, as soon as it appears.

        Raises:
            CommandError: Compose failed.
        """
        with subprocess.Popen(
            ["docker", "compose", *arguments],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            for line in process.stdout or ():
                yield line.decode(errors="replace").rstrip("\r\n")
        if process.returncode:
            raise CommandError(f"`docker compose {arguments[0]}` failed with code {process.returncode}")

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a service's container and return what it prints; empty if it cannot run."""
        return self.answer("exec", "--no-TTY", service, *command)

    def answer(self, *arguments: str) -> str:
        """Return what ``docker compose`` prints; empty if it takes longer than half a minute."""
        command = ["docker", "compose", *arguments]
        options: dict[str, Any] = {"cwd": ROOT, "env": self._environment, "stdin": subprocess.DEVNULL}
        try:
            return subprocess.run(command, capture_output=True, timeout=30, text=True, **options).stdout
        except subprocess.TimeoutExpired:
            return ""

    def stream(
        self,
        service: str,
        *command: str,
        content: IO[bytes] | None = None,
        output: IO[bytes] | None = None,
        is_new: bool = False,
    ) -> bytes:
        """Run a command in a service's container with a file as its input or output.

        Args:
            service: The service.
            command: The program and its arguments.
            content: What it reads; nothing by default.
            output: Where it writes to.
            is_new: Whether to run it in a new container, since the service's has ended.

        Returns:
            What it prints, unless that goes to a file.

        Raises:
            CommandError: It failed; the message has its last line of error output.
        """
        done = subprocess.run(
            [*self._into(service, is_new=is_new), *command],
            cwd=ROOT,
            env=self._environment,
            stdin=content or subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"{command[0]} in {service}: {_reason(done.stderr.decode(errors='replace'))}")
        return done.stdout or b""

    def _into(self, service: str, *, is_new: bool) -> list[str]:
        """Return the beginning of a command line that runs in a service's container."""
        how = ("run", "--rm", "--no-deps") if is_new else ("exec",)
        # Otherwise a build before it would report its progress in the command's output.
        return ["docker", "compose", "--progress", "quiet", *how, "--no-TTY", service]

    def stop(self, service: str, *how: str) -> bool:
        """Stop a service if it runs, in one step so that Docker never restarts it, and tell whether it ran.

        Args:
            service: The service; it need not be in the project's files.
            how: Options of ``docker stop``; by default, the service's own grace period applies.

        Raises:
            CommandError: The service did not stop.
        """
        running = [one.id for one in self.containers() if one.service == service and one.is_on]
        if not running:
            return False
        done = subprocess.run(["docker", "stop", *how, *running], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError(f"docker stop: {_reason(done.stderr)}")
        return True

    def is_from_here(self) -> bool:
        """Tell whether the project's containers were started from this checkout."""
        here = ("--filter", f"label={PROJECT_LABEL}.working_dir={ROOT}")
        return bool(ask("docker", "ps", "--all", "--quiet", *of_project(self.name), *here).stdout.strip())

    def other_checkout(self) -> str:
        """Return another checkout on this machine that the project's containers were started from, if any."""
        folders = {Path(line) for line in labels_of(self.name, "working_dir") if line}
        return next((str(one) for one in sorted(folders) if one.exists() and not one.samefile(ROOT)), "")

    def has_volumes(self) -> bool:
        """Tell whether the project has data, running or not."""
        return bool(ask("docker", "volume", "ls", "--quiet", *of_project(self.name)).stdout.strip())

    def containers(self) -> list[Container]:
        """Return the project's containers in the order in which they started; raise as `inspected` does."""
        return sorted(map(container_of, self.inspected()), key=lambda container: container.started_at)

    def inspected(self, seconds: float = ANSWER_SECONDS) -> list[dict[str, Any]]:
        """Return the engine's whole description of the project's containers, except one-off containers.

        Raises:
            CommandError: The engine stopped answering.
        """
        listed = ask("docker", "ps", "--all", "--quiet", *of_project(self.name), seconds=seconds)
        if listed.returncode:
            raise CommandError(f"docker ps: {_reason(listed.stderr)}")
        if not listed.stdout.split():
            return []
        inspected = ask("docker", "inspect", *listed.stdout.split(), seconds=seconds)
        items: list[dict[str, Any]] = json.loads(inspected.stdout or "[]")  # without those removed meanwhile
        return [item for item in items if item["Config"]["Labels"].get(_ONE_OFF_LABEL) != "True"]


def last_lines(container: Container, count: int = 15) -> str:
    """Return the last lines of a container's log."""
    logs = subprocess.run(
        ["docker", "logs", f"--tail={count}", container.id],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # in the order of writing
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return logs.stdout.rstrip()


def containers_publishing(port: int) -> list[str]:
    """Return the names of the containers, of any project, that publish a port on this machine."""
    return ask("docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}").stdout.split()


def container_of(item: dict[str, Any]) -> Container:
    """Reduce the engine's description of a container to what matters here."""
    state: dict[str, Any] = item["State"]
    health: dict[str, Any] = state.get("Health") or {}  # only long-running services have one
    bindings: dict[str, list[dict[str, str]] | None] = item["NetworkSettings"]["Ports"] or {}
    return Container(
        id=item["Id"],
        service=item["Config"]["Labels"].get(SERVICE_LABEL, item["Name"]),
        status=state["Status"],
        exit_code=state["ExitCode"],
        health=health.get("Status", ""),
        started_at=state["StartedAt"],
        is_one_shot=item["HostConfig"]["RestartPolicy"]["Name"] in {"", "no"} and not health,
        ports=frozenset(
            int(one["HostPort"]) for many in bindings.values() for one in many or [] if one["HostPort"]
        ),
        health_output=health["Log"][-1]["Output"] if health.get("Log") else "",
    )
