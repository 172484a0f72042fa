"""Lists, reads and runs the jobs or notebooks of a workspace, by id or name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Unpack

from prefect_yeedu.errors import YeeduNotFound, YeeduUnexpectedAnswer
from prefect_yeedu.models import Generation, RunKind
from prefect_yeedu.wire.responses import number_of, object_of, objects_of, read_json, read_object
from prefect_yeedu.wire.routes import ROUTES, Routes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import requests

    from prefect_yeedu.client.connection import Connection
    from prefect_yeedu.client.transport import RequestOptions
    from prefect_yeedu.retry_policy import Clock, RetryPolicy
    from prefect_yeedu.wire.responses import JsonObject

PAGE_DEFINITIONS = 100
MAX_PAGES = 100


class Session(Protocol):
    """Calls Yeedu, as `YeeduClient` does."""

    connection: Connection

    def call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        accepted: frozenset[int] = ...,
        is_repeatable: bool = True,
        retries: RetryPolicy | None = None,
        clock: Clock | None = None,
        **options: Unpack[RequestOptions],
    ) -> requests.Response:
        """Make a call: see `YeeduClient.call`."""
        ...


@dataclass(frozen=True)
class Definitions:
    """The jobs, or the notebooks, that a session may see.

    Attributes:
        session: A session with Yeedu.
        kind: Jobs or notebooks.
        generation: Which API generation the server speaks.
        clock: The clock for the waits between repeated calls; None for the session's.
    """

    session: Session
    kind: RunKind
    generation: Generation = Generation.V2
    clock: Clock | None = None

    def list(self, workspace: int) -> list[JsonObject]:
        """Return the definitions of a workspace, each as Yeedu shows it."""
        found: list[JsonObject] = []
        path = f"workspace/{workspace}/{self._routes.definitions}"
        for number in range(1, MAX_PAGES + 1):
            page = {"pageNumber": number, "limit": PAGE_DEFINITIONS}
            try:
                answer = self._get(path, f"for the {self.kind}s of workspace {workspace}", page)
            except YeeduNotFound:  # some servers answer this if there are none
                break
            items = _items(answer)
            found += items
            if len(items) < PAGE_DEFINITIONS:
                break
        return found

    def read(self, workspace: int, which: int | str) -> JsonObject:
        """Return a definition by its id or its name.

        Raises:
            YeeduNotFound: The workspace has no such definition, or this user may not see it.
        """
        field = self._routes.definition_field if isinstance(which, int) else self._routes.name_field
        path = f"workspace/{workspace}/{self._routes.definition}"
        try:
            value = self._get(path, f"about {self.kind} {which}", {field: which})
        except YeeduNotFound as error:
            raise self._missing(workspace, which, error) from None
        items = _items(value)
        return items[0] if items else object_of({"value": value}, "value")  # some servers send a list

    def find(self, workspace: int, name: str) -> int:
        """Return the id of the definition with a name.

        Raises:
            YeeduNotFound: The workspace has no such definition, or this user may not see it.
        """
        identifier = number_of(self.read(workspace, name), self._routes.definition_field)
        if identifier is None:
            raise YeeduUnexpectedAnswer(
                f"Yeedu does not say which id {self.kind} '{name}' has ({self._routes.definition_field}); "
                "give its id or its address."
            )
        return identifier

    def run(
        self,
        workspace: int,
        definition: int,
        *,
        arguments: str | None = None,
        conf: Sequence[str] = (),
        read_seconds: float | None = None,
    ) -> int:
        """Start a run and return its id, without recording the run or waiting for it.

        Blocks, tasks and the operator do both. The call is never repeated if Yeedu may have acted on it.

        Args:
            workspace: The workspace.
            definition: The job or notebook.
            arguments: The program's arguments.
            conf: Spark settings.
            read_seconds: How long the answer may take, instead of the session's limit.

        Raises:
            YeeduNotFound: There is no such definition.
            YeeduTransportError: The answer was lost; there may be a run.
        """
        body: dict[str, object] = {self._routes.definition_field: definition, **dict(self._routes.submission)}
        if arguments is not None:
            body["arguments"] = arguments
        if conf:
            body["conf"] = [*conf]
        path = f"workspace/{workspace}/{self._routes.submit}"
        try:
            response = self.session.call(
                "POST",
                path,
                f"to run {self.kind} {definition}",
                json=body,
                is_repeatable=False,
                read_seconds=read_seconds,
                clock=self.clock,
            )
        except YeeduNotFound as error:
            raise self._missing(workspace, definition, error) from None
        run_id = number_of(read_object(response, path), self._routes.run_field)
        if run_id is None:
            raise YeeduUnexpectedAnswer(
                f"Yeedu accepted {self.kind} {definition} without naming a run ({self._routes.run_field}).",
                status=response.status_code,
                is_from_yeedu=False,  # as it may have started one
            )
        return run_id

    @property
    def _routes(self) -> Routes:
        return ROUTES[self.kind, self.generation]

    def _get(self, path: str, what: str, params: Mapping[str, object]) -> object:
        return read_json(self.session.call("GET", path, what, params=params, clock=self.clock), path)

    def _missing(self, workspace: int, which: int | str, error: YeeduNotFound) -> YeeduNotFound:
        named = str(which) if isinstance(which, int) else f"'{which}'"
        advice = "the URL" if isinstance(which, int) else "the name, the workspace and the tenant"
        connection = self.session.connection
        return YeeduNotFound(
            f"There is no {self.kind} {named} in workspace {workspace} of tenant {connection.tenant} at "
            f"{connection.origin}, or this user may not see it; check {advice}.",
            status=error.status,
            code=error.code,
        )


def _items(value: object) -> list[JsonObject]:
    """Return the objects of a list, or of a page of one."""
    return objects_of({"data": value}, "data") or objects_of(object_of({"value": value}, "value"), "data")
