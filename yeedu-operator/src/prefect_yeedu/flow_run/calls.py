"""Makes one call of a job or notebook from Prefect; used by the operator, the tasks and the blocks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefect_yeedu.client.definitions import Definitions
from prefect_yeedu.client.session_cache import shared_client
from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.flow_run.deferral import Deferral
from prefect_yeedu.flow_run.record_fields import Definition
from prefect_yeedu.flow_run.run_artifacts import RunArtifacts
from prefect_yeedu.flow_run.run_events import RunEvents
from prefect_yeedu.flow_run.run_logging import RunLogListener, find_logger
from prefect_yeedu.flow_run.run_record import ArtifactLedger
from prefect_yeedu.flow_run.stopping import StoppableClock, StopWatch
from prefect_yeedu.models import Generation, YeeduResult
from prefect_yeedu.runs.execution import execute, find_api
from prefect_yeedu.runs.start import StartedRun, start
from prefect_yeedu.urls import TargetKind

if TYPE_CHECKING:
    import threading

    from prefect_yeedu.client.client import YeeduClient
    from prefect_yeedu.client.connection import Connection
    from prefect_yeedu.retry_policy import Clock
    from prefect_yeedu.runs.record import Ledger
    from prefect_yeedu.runs.request import RunRequest
    from prefect_yeedu.urls import Target


@dataclass(frozen=True)
class Triggered:
    """A run that exists on Yeedu and still has to be waited for.

    Attributes:
        started: The run.
        events: Emits the run's events to Prefect.
    """

    started: StartedRun
    events: RunEvents

    def finish(self) -> YeeduResult:
        """Wait until the run has ended and return the result.

        Raises:
            YeeduError: The run did not succeed; the class says why.
        """
        return self.events.reported(self.started.finish)


@dataclass(frozen=True)
class YeeduCall:
    """A call that is ready to be made.

    Attributes:
        connection: The Yeedu to call, and the login.
        target: What to call.
        request: The arguments and options.
        note: What to log about the way of logging in, if there was a choice; else empty.
        blocks: The blocks that hold the login, each after its parameter, such as `token_block_name`.
    """

    connection: Connection
    target: Target
    request: RunRequest
    note: str = ""
    blocks: tuple[tuple[str, str], ...] = ()

    def execute(self, event: threading.Event | None = None) -> YeeduResult:
        """Run the target, wait until it has ended, and return the result.

        Args:
            event: Set when the run is not wanted any more.
        """
        client, watch = self.open_client(), StopWatch(event)
        clock = StoppableClock(watch)
        call = self.resolved(client, clock)
        listener, ledger = call.listener(watch), call.ledger()
        result = call.events.reported(
            lambda: execute(client, call.target, call.request, listener, ledger, clock)
        )
        if call.target.kind is TargetKind.HEALTH:
            find_logger().info("Yeedu at %s is healthy.", self.connection.origin)
        return result

    def start(self, event: threading.Event | None = None) -> Triggered:
        """Submit the run, or find the one that an earlier attempt submitted."""
        if self.target.kind not in {TargetKind.JOB, TargetKind.NOTEBOOK}:
            raise YeeduConfigurationError("Only a job's or a notebook's address can be triggered.")
        client, watch = self.open_client(), StopWatch(event)
        clock = StoppableClock(watch)
        call = self.resolved(client, clock)
        api = find_api(client, call.target, call.request, clock)
        started = start(api, call.target.id, call.request, call.listener(watch), call.ledger())
        return Triggered(started, call.events)

    @property
    def events(self) -> RunEvents:
        """What emits the run's events to Prefect."""
        return RunEvents.of(self.connection, self.target)

    def resolved(self, client: YeeduClient, clock: Clock | None = None) -> YeeduCall:
        """Return this call with the definition's id, if only its name is given.

        Raises:
            YeeduNotFound: There is no definition with that name.
        """
        target = self.target
        if not target.name or target.run_kind is None:
            return self
        generation = self.request.generation or Generation.V2
        definitions = Definitions(client, target.run_kind, generation, clock)
        found = definitions.find(target.workspace_id, target.name)
        return replace(self, target=replace(target, id=found, name=""))

    def open_client(self) -> YeeduClient:
        """Return this process's client for the connection; log how it logs in, if there was a choice."""
        if self.note and self.target.kind is not TargetKind.HEALTH:
            find_logger().info(self.note)
        return shared_client(self.connection)

    def listener(self, watch: StopWatch) -> RunLogListener:
        """Return the listener that writes to the run's log and creates its artifacts."""
        logger, request = find_logger(), self.request
        artifacts, deferral = RunArtifacts(str(self.target.kind), self.target.id), None
        if request.deferrable:
            deferral = Deferral(
                logger,
                self.target.kind,
                has_clusters=bool(request.cluster_ids),
                has_blocks=any(block for _, block in self.blocks),
            )
        return RunLogListener(logger, watch, artifacts, self.events, deferral)

    def ledger(self) -> Ledger:
        """Return the ledger that records this call's run."""
        target, request, connection = self.target, self.request, self.connection
        words = repr((request.arguments, request.conf, dict(request.parameters)))
        passed = hashlib.sha256(words.encode()).hexdigest()[:12]
        kind = str(target.kind)
        definition = Definition(connection.base_url, connection.tenant, target.workspace_id, kind, target.id)
        return ArtifactLedger.of_this_call(definition, passed=passed, blocks=dict(self.blocks))
