"""Yeedu's REST calls for runs and definitions, with one interface for every API generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Unpack

from prefect_yeedu.client.definitions import Definitions
from prefect_yeedu.client.transport import RequestOptions
from prefect_yeedu.errors import YeeduError, YeeduNotFound
from prefect_yeedu.retry_policy import ONCE, Clock, RetryPolicy, SystemClock
from prefect_yeedu.urls import run_page
from prefect_yeedu.wire.responses import number_of, object_of, objects_of, text_of
from prefect_yeedu.wire.routes import ROUTES, Routes
from prefect_yeedu.wire.run_object import RunSnapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import requests

    from prefect_yeedu.client.client import YeeduClient
    from prefect_yeedu.models import Generation, RunKind
    from prefect_yeedu.wire.responses import JsonObject

PAGE_RUNS = 100
USER_FIELDS = ("username", "user_id", "id", "email")
STOP_STATUSES = frozenset({200, 201, 409})  # 409: it has ended already, which is the goal


class CallOptions(RequestOptions, total=False):
    """Optional arguments of a call; see `YeeduClient.call`."""

    accepted: frozenset[int]
    is_repeatable: bool
    retries: RetryPolicy | None


@dataclass(frozen=True)
class RunPage:
    """A page of a list of runs.

    Attributes:
        runs: The runs, in the server's order.
        total: How many pages there are; None if Yeedu does not say.
    """

    runs: tuple[RunSnapshot, ...] = ()
    total: int | None = None


@dataclass(frozen=True)
class RunAPI:
    """Calls about one kind of run in one workspace.

    Attributes:
        client: A session with Yeedu.
        workspace_id: The workspace.
        kind: Jobs or notebooks.
        generation: Which API generation the server speaks.
        clock: The clock for the waits between repeated calls.
    """

    client: YeeduClient
    workspace_id: int
    kind: RunKind
    generation: Generation
    clock: Clock = field(default_factory=SystemClock)

    @property
    def routes(self) -> Routes:
        """The routes of this kind of run in this generation."""
        return ROUTES[self.kind, self.generation]

    @property
    def _definitions(self) -> Definitions:
        return Definitions(self.client, self.kind, self.generation, self.clock)

    def run_page(self, run_id: int, ui_url: str | None = None) -> str:
        """Return the address of a run's page in Yeedu's user interface."""
        connection = self.client.connection
        return run_page(
            connection.base_url,
            connection.tenant,
            self.workspace_id,
            run_id,
            self.kind,
            self.generation,
            ui_url,
        )

    def call(self, method: str, path: str, what: str, **options: Unpack[CallOptions]) -> requests.Response:
        """Make a call with the client, waiting on this object's clock: see `YeeduClient.call`."""
        return self.client.call(method, path, what, clock=self.clock, **options)

    def path(self, route: str, *, run: int = 0, definition: int = 0, stream: str = "") -> str:
        """Return a route's path below the API's base."""
        below = route.format(run=run, definition=definition, stream=stream)
        return f"workspace/{self.workspace_id}/{below}"

    def submit(
        self,
        definition: int,
        *,
        arguments: str | None = None,
        conf: Sequence[str] = (),
        read_seconds: float | None = None,
    ) -> int:
        """Start a run and return its id; never repeat a call on which Yeedu may have acted.

        Args:
            definition: The job or notebook.
            arguments: The program's arguments.
            conf: Spark settings.
            read_seconds: How long the answer may take, instead of the client's limit.

        Raises:
            YeeduNotFound: There is no such definition.
        """
        return self._definitions.run(
            self.workspace_id, definition, arguments=arguments, conf=conf, read_seconds=read_seconds
        )

    def read(
        self, run_id: int, *, retries: RetryPolicy | None = None, read_seconds: float | None = None
    ) -> RunSnapshot:
        """Return the current snapshot of a run.

        Args:
            run_id: The run.
            retries: The retry policy, instead of the client's.
            read_seconds: Time limit of each answer, instead of the client's.
        """
        answer = self._get_object(
            self.routes.run,
            f"about run {run_id}",
            run=run_id,
            retries=retries,
            read_seconds=read_seconds,
        )
        return RunSnapshot.read(answer, self.routes, run_id)

    def stop(
        self, run_id: int, *, retries: RetryPolicy | None = None, read_seconds: float | None = None
    ) -> bool:
        """Ask Yeedu to stop a run; return False if the run has ended already."""
        response = self.call(
            "POST",
            self.path(self.routes.stop, run=run_id),
            f"to stop run {run_id}",
            accepted=STOP_STATUSES,
            retries=retries,
            read_seconds=read_seconds,
        )
        return response.status_code != HTTPStatus.CONFLICT

    def open_log(
        self,
        run_id: int,
        stream: str,
        offset_bytes: int,
        *,
        retries: RetryPolicy = ONCE,
        read_seconds: float | None = None,
    ) -> requests.Response:
        """Return a log as a stream of bytes, which the caller closes.

        Args:
            run_id: The run.
            stream: `stdout` or `stderr`.
            offset_bytes: How much is known already. A server that supports `Range` leaves that out (206, or
                416 if there is nothing more); any other sends the whole log (200).
            retries: The retry policy for opening it.
            read_seconds: Time limit of each piece, instead of the client's.
        """
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if offset_bytes:
            headers["Range"] = f"bytes={offset_bytes}-"
        return self.call(
            "GET",
            self.path(self.routes.log, run=run_id, stream=stream),
            f"for the {stream} log of run {run_id}",
            headers=headers,
            is_streamed=True,
            accepted=frozenset({200, 206, 416}),
            retries=retries,
            read_seconds=read_seconds,
        )

    def log_text(
        self,
        run_id: int,
        stream: str,
        *,
        last_lines: int | None = None,
        retries: RetryPolicy | None = None,
    ) -> str:
        """Return the current content of a log, or only its last lines.

        Raises:
            YeeduNotFound: Yeedu has no such log.
        """
        response = self.call(
            "GET",
            self.path(self.routes.log, run=run_id, stream=stream),
            f"for the {stream} log of run {run_id}",
            headers={"Accept": "*/*"},
            params={"last_n_lines": last_lines} if last_lines is not None else None,
            retries=retries,
        )
        return response.content.decode("utf-8", "replace")

    def workflow_errors(self, run_id: int) -> tuple[str, ...]:
        """Return what Yeedu reports about a failure; empty if it cannot say."""
        if self.routes.errors is None:
            return ()
        try:
            answer = self._get_object(
                self.routes.errors,
                f"for the errors of run {run_id}",
                run=run_id,
                retries=RetryPolicy(attempts=2),
            )
        except YeeduError:
            return ()  # only a comment on the failure itself
        errors = (text_of(item, "error") for item in objects_of(answer, "data"))
        return tuple(self.client.redactor.scrub(error) for error in errors if error)

    def definition(self, definition: int) -> JsonObject:
        """Return a job's or notebook's definition.

        Raises:
            YeeduNotFound: There is no such definition.
        """
        return self._definitions.read(self.workspace_id, definition)

    def list_page(self, definition: int | None, number: int) -> RunPage:
        """Return a page of a definition's runs, counted from 1; empty if Yeedu knows of none.

        Args:
            definition: The job or notebook; None for all of the workspace.
            number: The page's number.
        """
        params = {"pageNumber": number, "limit": PAGE_RUNS}
        whose = f"workspace {self.workspace_id}"
        if definition is not None:
            params[self.routes.definition_filter] = definition
            whose = f"{self.kind} {definition}"
        try:
            answer = self._get_object(self.routes.runs, f"for the runs of {whose}", params=params)
        except YeeduNotFound:  # Yeedu's own; a proxy's is another error
            return RunPage()
        snapshots = (RunSnapshot.read(item, self.routes) for item in objects_of(answer, "data"))
        runs = tuple(snapshot for snapshot in snapshots if snapshot.run_id)
        return RunPage(runs, number_of(object_of(answer, "result_set"), "total_pages"))

    def read_names(self) -> frozenset[str]:
        """Return the names under which Yeedu may show this user as the author of a run."""
        answer = self.client.get_object("user/info", "who we are", clock=self.clock)
        names = {str(answer[key]) for key in USER_FIELDS if isinstance(answer.get(key), str | int)}
        return frozenset(names | ({self.client.username} if self.client.username else set()))

    def _get_object(
        self,
        route: str,
        what: str,
        *,
        run: int = 0,
        retries: RetryPolicy | None = None,
        **options: Unpack[RequestOptions],
    ) -> JsonObject:
        path = self.path(route, run=run)
        return self.client.get_object(path, what, retries=retries, clock=self.clock, **options)
