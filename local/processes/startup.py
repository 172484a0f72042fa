"""Starts the local processes in order; a process that fails does not stop the others from running."""

import time
from collections.abc import Mapping, Sequence

from local.backup.schedule import scheduled_backups
from local.console import Console
from local.errors import CommandError
from local.ports import free_port
from local.processes import warehouse as postgres
from local.processes.service import Service
from local.processes.services import (
    SECRETS,
    STATE,
    WAREHOUSE,
    deployer,
    own_warehouse_url,
    rescue,
    warehouse,
    worker,
    yeedu_watch,
)
from local.processes.supervisor import Supervisor, last_lines
from local.settings.platform import Settings

_START_SECONDS = 300.0
_UNDEPLOYED_SECONDS = 30.0
_DEPLOY_SECONDS = 300.0
_POLL_SECONDS = 0.2


class Startup:
    """Starts what does not run yet, and restarts what has changed.

    Args:
        supervisor: Runs the processes.
        environment: The variables that every process gets.
        settings: The platform's settings.
        console: Where progress is shown.
    """

    def __init__(
        self, supervisor: Supervisor, environment: Mapping[str, str], settings: Settings, console: Console
    ) -> None:
        self._supervisor = supervisor
        self._environment = environment
        self._settings = settings
        self._console = console

    def start_all(self, first: Sequence[Service], flows_url: str) -> None:
        """Start everything. Only the server has to be up for the rest; other failures are raised at the end.

        Args:
            first: The server, unless another one is used, and the mock.
            flows_url: The address that runs clone.

        Raises:
            CommandError: Something did not start, or the deployer failed, which the message says last.
        """
        for service in first:
            self.ensure(service)
        failures: list[str] = []
        warehouse_url = ""
        others = [service for service in first if service.name != "server"]
        try:
            warehouse_url, its_own = self.ensure_warehouse()
            others += its_own
        except CommandError as error:
            failures.append(str(error))
        for service in first:
            if service not in others:
                self.await_ready(service)
        if not (backups := scheduled_backups(self._settings)):
            self._supervisor.stop("backup")
        for service in (
            rescue(self._settings, self.port("rescue")),
            yeedu_watch(self._settings),
            worker(self._settings, flows_url, self.port("worker")),
            *backups,
        ):
            self.ensure(service)
            others.append(service)
        undeployed = self._run_deployer(deployer(self._settings, flows_url, warehouse_url))
        for service in others:
            try:
                # A worker does not answer before it has its work pool, which the deployer creates.
                self.await_ready(service, _UNDEPLOYED_SECONDS if undeployed else _START_SECONDS)
            except CommandError as error:
                failures.append(str(error))
        if undeployed:
            failures.append(str(self._failed("deployer", undeployed)))
        if failures:
            raise CommandError("; ".join(failures))

    def port(self, name: str) -> int:
        """Return the port of a service that may have any: the one that it has, or a free one."""
        running = self._supervisor.find(name)
        return running.port if running else free_port()

    def ensure_warehouse(self) -> tuple[str, list[Service]]:
        """Start the platform's own warehouse unless the user has one; return the address and that service.

        Where no Postgres can run, the platform comes up without it: only flows that load into it need it.

        Raises:
            CommandError: Its database cannot be created.
        """
        own = own_warehouse_url(self._settings)
        reason = "" if own else postgres.why_not()
        if own or reason:
            self._console.step(f"warehouse    {f'left out: {reason}' if reason else 'your own'}")
            self._supervisor.stop("warehouse")
            return own, []
        password = SECRETS / "warehouse" / "postgres-password"
        postgres.make_database(WAREHOUSE, password, self._environment)
        self.ensure(service := warehouse(self.port("warehouse")))
        return postgres.address(service.port), [service]

    def ensure(self, service: Service) -> None:
        """Start a service unless it already runs from the same command, settings and sources."""
        fingerprint = service.fingerprint()
        running = self._supervisor.find(service.name)
        if running and running.fingerprint == fingerprint:
            return
        if running:
            self._console.step(f"{service.name:<12} changed: stopping it to start it again")
        self.stop(service.name)  # even if it is dead: its children may live
        self._start(service, fingerprint)

    def stop(self, name: str) -> bool:
        """Stop a process; a worker gets the grace period that its flow runs are promised."""
        is_worker = name == "worker"
        return self._supervisor.stop(
            name, self._settings.seconds("WORKER_GRACE_SECONDS", 30) if is_worker else None
        )

    def _start(self, service: Service, fingerprint: str = "", *, restarts: bool = True) -> None:
        self._supervisor.start(
            service.name,
            service.command,
            {**self._environment, **service.environment},
            STATE / service.name,
            port=service.port,
            fingerprint=fingerprint,
            restarts=restarts,
        )

    def await_ready(self, service: Service, seconds: float = _START_SECONDS) -> None:
        """Wait until the service answers.

        Raises:
            CommandError: It ended, or does not answer in time.
        """
        deadline = time.monotonic() + seconds
        while not service.is_ready():
            if not self._supervisor.find(service.name):
                raise self._failed(service.name, "ended")
            if time.monotonic() > deadline:
                raise self._failed(service.name, f"does not answer after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
        is_new = service.name in self._supervisor.started
        self._console.step(f"{service.name:<12} {'healthy' if is_new else 'healthy, already running'}")

    def _run_deployer(self, service: Service) -> str:
        """Run the deployer until it ends, and return what went wrong; empty if nothing did."""
        self._supervisor.stop(service.name)
        self._start(service, restarts=False)
        deadline = time.monotonic() + _DEPLOY_SECONDS
        while (code := self._supervisor.exit_code(service.name)) is None:
            if time.monotonic() > deadline:
                self._supervisor.stop(service.name)
                return f"did not end within {_DEPLOY_SECONDS:.0f} s"
            time.sleep(_POLL_SECONDS)
        self._supervisor.stop(service.name)
        if not code:
            self._console.step(f"{service.name:<12} done")
        return f"exited with code {code}" if code else ""

    def _failed(self, name: str, what: str) -> CommandError:
        log = self._supervisor.log(name)
        self._console.say(last_lines(log))
        return CommandError(f"{name}: {what}; the last lines of its log are above (all of it: {log})")
