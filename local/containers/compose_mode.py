"""The platform in containers: ``docker compose`` with progress, a timeout, and the reason for a failure."""

import subprocess
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile

from local.api import PrefectApi
from local.backup.backups import of_containers
from local.backup.restore import Backup
from local.backup.schedule import FOLDER, backup_lines, scheduled_backups
from local.console import Console
from local.containers.docker import remove_labelled
from local.containers.engine import Container, Project, containers_publishing, last_lines
from local.containers.images import provide_images
from local.containers.running import profile_variables, profiles_that_run, stop_users
from local.errors import CommandError
from local.install.packages import further_locks, package_index
from local.interrupts import ignore_interrupts
from local.ports import holder, is_free, port_taken
from local.processes.services import Order, deployer_paths
from local.settings.environments import EnvironmentSettings, secret_files
from local.settings.platform import ROOT, Settings
from local.status.first_run import report_first_run
from local.status.metrics import run_lines, volume_lines
from local.status.skipped_patches import container_lines

_START_SECONDS = 300.0
_OTHERS_SECONDS = 60.0  # for the other services to start, after one has failed
_POLL_SECONDS = 0.7
_DRAINED = ("--signal", "SIGUSR1", "-t", "86400")  # --time, or --timeout in newer versions
_SHARED = ("deployer", "flows")  # of the checkout; the deployer's container has these and CONFIG_DIR
_OTHER_FILE = "/etc/platform/other"
_SECRETS = "/run/platform/environment"  # in the container, next to the platform's own


class ComposeMode:
    """Starts, watches and stops the compose project."""

    database = "postgres"  # of the server, as backups call it

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._project = Project(settings)

    def exists(self) -> bool:
        """Tell whether the project has containers, running or not."""
        return bool(self._project.containers())

    def is_from_here(self) -> bool:
        """Tell whether the project was started from this checkout."""
        return self._project.is_from_here()

    def up(self, *, waits: bool = True) -> int:
        """Build and start everything, wait for the first Yeedu run if `waits`, and return the exit code.

        Raises:
            CommandError: A port is taken, a build failed, or a service did not start.
        """
        before = self._project.containers()
        self._check_ports(before)
        was_up = any(container.status == "running" for container in before)
        try:
            self._prepare_images()
            self._start(before)
            api = PrefectApi.of(self._settings)
            return report_first_run(api, self._settings, self._console, self._worker_since()) if waits else 0
        except KeyboardInterrupt:
            ignore_interrupts()
            if not was_up:
                self._console.step("interrupted: stopping the containers")
                self._project.run("down")
            raise

    def _worker_since(self) -> datetime | None:
        containers = self._project.containers()
        started = [one.started_at for one in containers if one.service == "worker"]
        return max(map(datetime.fromisoformat, started), default=None)

    def _check_ports(self, containers: list[Container]) -> None:
        """Refuse to start while something else holds a port that the platform publishes.

        Raises:
            CommandError: A port is taken; the message names it, its holder, and the setting.
        """
        held = frozenset[int]().union(*(container.ports for container in containers))
        ports = [
            ("PREFECT_PORT", self._settings.bind_address, self._settings.prefect_port),
            ("YEEDU_MOCK_PORT", "127.0.0.1", self._settings.mock_port),
        ]
        if self._settings.has_tls:
            ports.append(("TLS_HTTP_PORT", self._settings.bind_address, self._settings.tls_http_port))
        if self._settings.other_server:
            del ports[0]
        for setting, address, port in ports:
            if port not in held and not is_free(address, port, for_engine=True):
                names = containers_publishing(port)
                by = f"the container {names[0]}" if names else holder(port) or "another process"
                raise port_taken(setting, port, str(by))

    def _prepare_images(self) -> None:
        further_locks(self._settings)  # a build would say less about a wrong one
        package_index(self._settings)
        if file := self._other_file():
            raise CommandError(
                f"PREFECT_FILE={file}: containers have CONFIG_DIR, and deployer/ and flows/ of this "
                "checkout; set CONFIG_DIR to the file's folder, or name it from the checkout on"
            )
        if scheduled_backups(self._settings):
            FOLDER.mkdir(exist_ok=True)  # so that this user owns it, not root
        provide_images(self._project, self._settings, self._console)

    def _start(self, before: list[Container]) -> None:
        """Run ``up -d``, and wait until every service is healthy.

        Raises:
            CommandError: A service or Compose failed, or not every service is healthy in time.
        """
        with TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            arguments = ("up", "--detach", "--no-build", "--remove-orphans")
            process = self._project.compose(*arguments, output=output)
            try:
                self._watch(process, before)
            finally:
                if process.poll() is None:
                    process.terminate()
                process.wait()
            if process.returncode:
                output.seek(0)
                lines = output.read().strip().splitlines()
                raise CommandError(
                    f"`docker compose up` failed: {lines[-1] if lines else process.returncode}"
                )

    def _watch(self, process: subprocess.Popen[str], before: list[Container]) -> None:
        """Print every step as it happens, until Compose has failed or every service is healthy.

        Raises:
            CommandError: A service failed, or not every service is healthy in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        failure_deadline = deadline
        shown: dict[str, str] = {}
        while True:
            code = process.poll()  # asked first, so that the states read below are final
            containers = self._project.containers()
            current = containers if code == 0 else _without_ended(containers, before)
            for container in current:
                if str(container) not in {"created", "starting", shown.get(container.service)}:
                    shown[container.service] = str(container)
                    self._console.step(f"{container.service:<12} {container}")
            failed = next((container for container in current if container.has_failed), None)
            if failed:
                failure_deadline = min(failure_deadline, time.monotonic() + _OTHERS_SECONDS)
            if failed and (code is not None or _all_begun(containers) or time.monotonic() > failure_deadline):
                self._console.say(last_lines(failed))
                raise CommandError(f"{failed.service}: {failed}; the last lines of its log are above")
            if code or (code == 0 and all(container.is_ready for container in containers)):
                return
            if time.monotonic() > deadline:
                late = ", ".join(f"{one.service} ({one})" for one in containers if not one.is_ready)
                raise CommandError(f"not ready after {_START_SECONDS:.0f} s: {late}; see `make logs`")
            time.sleep(_POLL_SECONDS)

    def down(self) -> None:
        """Stop and remove the containers; the volumes stay."""
        self._must(self._project.run("down", "--remove-orphans"), "down")

    def held(self) -> str:
        """Return what `destroy` deletes, in words; empty when there is nothing."""
        if not self.exists() and not self._project.has_volumes():
            return ""
        return f"the containers and volumes of the project {self._project.name}: database, secrets, warehouse"

    def check_is_here(self) -> None:
        """Refuse to replace or delete what another checkout on this machine runs under the same name.

        Raises:
            CommandError: Another checkout started the project's containers.
        """
        if other := self._project.other_checkout():
            raise CommandError(
                f"the project {self._project.name} was started from {other}: run this there, or give this "
                "checkout's a name of its own: COMPOSE_PROJECT_NAME in .env"
            )

    def destroy(self) -> None:
        """Remove the containers, and the volumes with all runs and secrets."""
        self._must(self._project.run("--profile", "*", "down", "--remove-orphans", "--volumes"), "down")
        remove_labelled(self._project.name)

    def logs(self) -> int:
        """Follow the logs of all services until interrupted."""
        for line in self._project.lines("logs", "--follow", "--tail=100"):
            self._console.say(line)
        return 0

    def deploy(self, settings: EnvironmentSettings, order: Order) -> int:
        """Run the deployer with its output shown, and return its exit code.

        An environment's own secrets reach it as files; the volume with the platform's stays as it is.

        Args:
            settings: The environment's settings, or the platform's.
            order: What to ask of the deployer.
        """
        # Without this, Compose would begin with a build, which `status` does not need.
        policy = {"IMAGE_POLICY": "never"} if order.command == "status" else {}
        project = Project(self._settings, {**settings.own_addresses, **policy})
        with secret_files(settings) as folder:
            options = ["--volume", f"{folder}:{_SECRETS}:ro"] if settings.secrets else []
            for name in settings.secrets:
                options += ["--env", f"{name}_FILE={_SECRETS}/{name}"]
            if file := self._other_file():
                options += ["--volume", f"{file}:{_OTHER_FILE}/{file.name}:ro"]
                options += ["--env", f"PREFECT_FILE={_OTHER_FILE}/{file.name}"]
            return project.run("run", "--rm", "--no-deps", *options, "deployer", *order.arguments)

    def _other_file(self) -> Path | None:
        """Return PREFECT_FILE if it is a file of this machine that the deployer's container lacks."""
        name = deployer_paths(self._settings)["PREFECT_FILE"]
        file = ROOT / name
        has = any(not Path(name).is_absolute() and file.is_relative_to(ROOT / one) for one in _SHARED)
        return file if name and file.is_file() and not has else None

    def backup(self, target: Path | None) -> None:
        """Write a backup of the running platform, by default into ``backups/``."""
        of_containers(self._project, self._console).backup(target)

    def restore(self, backup: Backup) -> None:
        """Replace the data with a backup's, and stop whatever uses the database.

        Raises:
            CommandError: The data could not be replaced; none was changed.
        """
        self.check_is_here()
        before = self._project.containers()
        self._check_ports(before)
        with backup.settings_in_place(self._console):
            self._prepare_images()
            try:
                self._start_postgres()
                profiles = profiles_that_run(self._project, self._settings)
                database = of_containers(self._project, self._console)
                database.restore(
                    backup.database, backup.key, lambda: stop_users(self._project, self._console)
                )
            except BaseException:
                if not before:
                    self._project.run("down")
                raise
        self._project = Project(self._settings, profile_variables(self._settings, profiles))  # for `up`

    def _start_postgres(self) -> None:
        if not self._project.run("up", "--detach", "--no-build", "--wait", "postgres"):
            return
        for container in self._project.containers():
            if container.service in {"secrets", "postgres"} and container.has_failed:
                self._console.say(last_lines(container))
        raise CommandError("postgres cannot be started, and nothing was replaced; see the output above")

    def drain(self) -> None:
        """Stop the worker once its flow runs have ended, or after a day."""
        self._console.step("worker       takes no more flow runs; waiting for those in flight")
        if not self._project.stop("worker", *_DRAINED):
            raise CommandError("the worker is not running")
        self._console.step("worker       stopped; `make up` starts it again")

    def status(self) -> int:
        """Print a line per service, and what server and volumes report; return 0 if all are ready."""
        containers = self._project.containers()
        for container in containers:
            self._console.say(f"{container.service:<12} {container}")
        self._console.say()
        api = PrefectApi.of(self._settings)
        left_out = container_lines(api, containers)
        for line in [*run_lines(api), *left_out, *volume_lines(self._project), *backup_lines(self._settings)]:
            self._console.say(line)
        return 0 if containers and all(container.is_ready for container in containers) else 1

    def _must(self, code: int, command: str) -> None:
        if code:
            raise CommandError(f"`docker compose {command}` failed with code {code}")


def _all_begun(containers: list[Container]) -> bool:
    """Tell whether every service was started, so that a failure holds none of the others back."""
    return not any(container.status == "created" for container in containers if not container.is_one_shot)


def _without_ended(containers: list[Container], before: list[Container]) -> list[Container]:
    """Leave out containers that ended earlier or are being replaced: they were not started since."""
    known = {(container.id, container.started_at) for container in before}
    return [
        container
        for container in containers
        if container.status == "running" or (container.id, container.started_at) not in known
    ]
