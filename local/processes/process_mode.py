"""The platform as local processes, on SQLite, for a machine without a Docker engine."""

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from local.api import PrefectApi
from local.backup.backups import of_processes
from local.backup.restore import Backup
from local.backup.schedule import backup_lines, scheduled_backups
from local.console import Console, without_login
from local.errors import CommandError
from local.install.virtual_environment import PROGRAMS, install
from local.interrupts import ignore_interrupts
from local.ports import holder, is_free, port_taken
from local.processes import warehouse as postgres
from local.processes.child_environment import child_environment
from local.processes.follow_logs import follow
from local.processes.lock import exclusive
from local.processes.preparation import check_machine, prepare_flows, prepare_secrets, prepare_ui
from local.processes.service import Service
from local.processes.services import (
    STATE,
    Order,
    deployer,
    own_flows_url,
    own_warehouse_url,
    rescue,
    server,
    warehouse,
    worker,
    yeedu_mock,
    yeedu_watch,
)
from local.processes.startup import Startup
from local.processes.supervisor import Supervisor
from local.settings.environments import EnvironmentSettings, secret_files
from local.settings.platform import Settings
from local.status.first_run import report_first_run
from local.status.metrics import run_lines, sqlite_lines
from local.status.skipped_patches import process_lines

_DRAIN_SECONDS = 86400.0


class ProcessMode:
    """Starts, watches and stops the local processes."""

    database = "sqlite"  # of the server, as backups call it

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._supervisor = Supervisor(STATE)
        self._environment = child_environment(os.environ, PROGRAMS)
        self._startup = Startup(self._supervisor, self._environment, settings, console)

    def is_up(self) -> bool:
        """Tell whether any process of the platform is running."""
        return any(self._supervisor.find(record.name) for record in self._supervisor.records())

    def exists(self) -> bool:
        """Tell whether any process was started and not stopped since, alive or not."""
        return bool(self._supervisor.records()) or self._supervisor.is_running()

    def up(self, *, waits: bool = True) -> int:
        """Install and start everything, wait for the first Yeedu run, and return the exit code.

        Args:
            waits: Whether to wait for that run.

        Raises:
            CommandError: Something is missing, a port is taken, or a service did not start.
        """
        check_machine()
        with exclusive(STATE / "lock"):
            STATE.chmod(0o700)  # logs and the database are private to this user
            self._supervisor.end_left()
            first = self._first_services()
            for service in first:
                self._check_port(service)
            try:
                install(self._console, self._settings, for_development=False)
                flows_url = self._prepare()
                if self._settings.other_server:
                    self._supervisor.stop("server")  # from when the platform had its own
                self._startup.start_all(first, flows_url)
                api = PrefectApi.of(self._settings)
                since = self._supervisor.started_at("worker")
                return report_first_run(api, self._settings, self._console, since) if waits else 0
            except KeyboardInterrupt:
                ignore_interrupts()
                self._console.step("interrupted: stopping the started processes")
                self._stop(self._supervisor.started)
                raise

    def _first_services(self) -> list[Service]:
        """Return what the others need: the mock and, unless another server is used, the server."""
        own = [] if self._settings.other_server else [server(self._settings)]
        return [yeedu_mock(self._settings), *own]

    def _check_port(self, service: Service) -> None:
        is_server = service.name == "server"
        setting, address = (
            ("PREFECT_PORT", self._settings.bind_address) if is_server else ("YEEDU_MOCK_PORT", "127.0.0.1")
        )
        running = self._supervisor.find(service.name)
        if not (running and running.port == service.port) and not is_free(address, service.port):
            raise port_taken(setting, service.port, str(holder(service.port) or "another process"))

    def _prepare(self) -> str:
        """Prepare secrets, the UI's files and the flows' repository; return the address that runs clone."""
        prepare_secrets(self._settings)
        if not self._settings.other_server:
            prepare_ui(self._environment, self._console)
        url = own_flows_url(self._settings)
        if url:
            self._console.step(f"flows: cloned from {without_login(url)}")
            return url
        url, description = prepare_flows(self._environment)
        self._console.step(f"flows: {description}")
        return url

    def down(self) -> None:
        """Stop every process that was started here, with its process tree."""
        with exclusive(STATE / "lock"):
            self._stop_all()

    def stop(self, names: Iterable[str]) -> None:
        """Stop the named processes that run, in that order; the worker gets its grace period."""
        with exclusive(STATE / "lock"):
            for name in names:
                if self._startup.stop(name):
                    self._console.step(f"{name:<12} stopped")

    def _stop(self, names: list[str]) -> None:
        for name in reversed(names):
            was_left = self._startup.stop(name)
            self._console.step(f"{name:<12} {'stopped' if was_left else 'was not running'}")
        self._supervisor.end_idle()

    def backup(self, target: Path | None) -> None:
        """Write a backup, by default into ``backups/``."""
        of_processes(self._console).backup(target)

    def restore(self, backup: Backup) -> None:
        """Replace the data with a backup's, and stop everything; see `ComposeMode.restore`."""
        check_machine()
        with exclusive(STATE / "lock"):
            STATE.chmod(0o700)
            for service in self._first_services():
                self._check_port(service)
            with backup.settings_in_place(self._console):
                prepare_secrets(self._settings)
                of_processes(self._console).restore(backup.database, backup.key, self._stop_all)

    def _stop_all(self) -> None:
        self._stop([record.name for record in self._supervisor.records()])

    def drain(self) -> None:
        """Stop the worker once its flow runs have ended, or after a day."""
        with exclusive(STATE / "lock"):
            if self._supervisor.find("worker") is None:
                raise CommandError("the worker is not running")
            self._console.step("worker       takes no more flow runs; waiting for those in flight")
            # supervisord stops it before the signal is sent, so nothing restarts it whatever the signal does.
            self._supervisor.stop("worker", _DRAIN_SECONDS, then=signal.SIGUSR1)
            self._console.step("worker       stopped; `make up` starts it again")

    def logs(self) -> int:
        """Follow the logs of all processes until interrupted."""
        for line in follow(STATE / "logs"):
            self._console.say(line)
        return 0

    def deploy(self, settings: EnvironmentSettings, order: Order) -> int:
        """Run the deployer, and return its exit code; see `ComposeMode.deploy`."""
        with exclusive(STATE / "lock"), secret_files(settings) as folder:
            flows_url = self._prepare()
            running = self._supervisor.find("warehouse")
            own = own_warehouse_url(settings)
            warehouse_url = own or (postgres.address(running.port) if running else "")
            service = deployer(settings, own_flows_url(settings) or flows_url, warehouse_url, order)
            secrets = {f"{file.name}_FILE": str(file) for file in folder.iterdir()}
            environment = {**self._environment, **service.environment, **secrets}
            (STATE / service.name).mkdir(exist_ok=True)
            return subprocess.run(
                service.command, env=environment, cwd=STATE / service.name, check=False
            ).returncode

    def services(self) -> list[Service]:
        """Return the services that run all the time."""
        services = [*reversed(self._first_services()), rescue(self._settings, self._startup.port("rescue"))]
        if not own_warehouse_url(self._settings) and not postgres.why_not():
            services.append(warehouse(self._startup.port("warehouse")))
        return [
            *services,
            yeedu_watch(self._settings),
            worker(self._settings, "", self._startup.port("worker")),
            *scheduled_backups(self._settings),
        ]

    def health(self) -> Iterator[tuple[str, str, str]]:
        """Yield each process's name, whether it is healthy, unhealthy or not running, and further details."""
        for service in self.services():
            record, trouble = self._supervisor.find(service.name), self._supervisor.trouble(service.name)
            state = "not running" if not record else "healthy" if service.is_ready() else "unhealthy"
            port = f"port {record.port}" if record and record.port else ""
            where = [f"process {record.pid}", port] if record else []
            yield service.name, state, ", ".join(filter(None, [*where, trouble]))

    def changed(self) -> list[str]:
        """Return the processes whose files or settings have changed since they were started."""
        services = [*self._first_services(), rescue(self._settings, self._startup.port("rescue"))]
        found = ((service, self._supervisor.find(service.name)) for service in services)
        return [one.name for one, record in found if record and record.fingerprint != one.fingerprint()]

    def status(self) -> int:
        """Print a line per process, and what server and disk report; return 0 if all are healthy."""
        found = list(self.health())
        for name, state, told in found:
            self._console.say(f"{name:<12} {state:<12} {told}".rstrip())
        self._console.say()
        api = PrefectApi.of(self._settings)
        left_out = process_lines(api, STATE / "worker")
        for line in [*run_lines(api), *left_out, *sqlite_lines(STATE), *backup_lines(self._settings)]:
            self._console.say(line)
        return 0 if all(state == "healthy" for _, state, _ in found) else 1
