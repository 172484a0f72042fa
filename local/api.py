"""A client for the Prefect server's REST API that needs only the standard library."""

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.errors import CommandError
from local.loopback import DIRECT
from local.settings.platform import Settings

FINAL_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})
FIRST_RUN_DEPLOYMENT = "run-yeedu-job"
_PAGE = 200  # the most items that Prefect returns at once
_BUSY = 503  # the answer of a server whose SQLite is locked
_BUSY_SECONDS, _PAUSE_SECONDS = 20.0, 0.5


class ApiUnavailableError(Exception):
    """The API did not answer, or not as expected; a retry may help.

    Attributes:
        status: The HTTP status of the answer; 0 if there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Deployment:
    """A registered deployment; an active one has a schedule that is not paused."""

    id: str
    name: str
    is_active: bool


@dataclass(frozen=True)
class FlowRun:
    """One run of a deployment, as of the query."""

    id: str
    name: str
    deployment: str
    state_type: str
    state_name: str
    message: str
    since: datetime
    """When it took on its state; for a final state, when it ended."""

    @property
    def is_final(self) -> bool:
        """Whether it is over: its state will not change again."""
        return self.state_type in FINAL_STATES

    @property
    def has_begun(self) -> bool:
        """Whether its flow began to run, or never will."""
        return self.state_type not in {"SCHEDULED", "PENDING"}


class PrefectApi:
    """The REST API of one Prefect server.

    Args:
        url: For example ``http://127.0.0.1:8080/api``.
        auth_string: ``user:password``, or empty when the server asks for none.
        api_key: The server's API key; empty when it asks for none. A login takes precedence.
        is_other: Whether it is a server other than the platform's own.
        ca_file: CA certificates to trust in addition to the system's; an empty file adds none.
        timeout_seconds: How long an answer may take.

    Raises:
        CommandError: The certificates cannot be read.
    """

    def __init__(
        self,
        url: str,
        auth_string: str = "",
        api_key: str = "",
        *,
        is_other: bool = False,
        ca_file: Path | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self.url = url
        self._timeout_seconds = timeout_seconds
        self._headers = {"Content-Type": "application/json"}
        if auth_string:
            self._headers["Authorization"] = "Basic " + base64.b64encode(auth_string.encode()).decode()
        elif api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        is_near = urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
        direct = [] if is_other and not is_near else [urllib.request.ProxyHandler({})]
        self._opener = urllib.request.build_opener(*direct, *_trusting(ca_file)) if is_other else DIRECT
        if not is_other:
            self._refusal = (
                "rejects the login: PREFECT_API_AUTH_STRING is not the one that the server was started with; "
                "`make down`, then `make up` restarts it with the current one"
            )
        elif api_key and not auth_string:
            self._refusal = "rejects the API key; check PREFECT_API_KEY or its file"
        else:
            self._refusal = (
                "rejects the login; check PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for a key, or its file"
            )

    @classmethod
    def of(cls, settings: Settings, timeout_seconds: float = 10.0) -> "PrefectApi":
        """Return the API of the platform's own server, or of the other server that it uses.

        Raises:
            CommandError: A file that should hold the login or the key cannot be read.
        """
        is_other = bool(settings.other_server)
        login, key = settings.auth_string(), settings.api_key()
        ca_file = settings.ca_file() if is_other else None
        return cls(
            settings.api_url, login, key, is_other=is_other, ca_file=ca_file, timeout_seconds=timeout_seconds
        )

    def get(self, path: str) -> Any:
        """Return the API's answer; raise as `post` does."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the API's answer.

        Raises:
            ApiUnavailableError: The API does not answer, or answers with an error or without JSON.
            CommandError: The API rejects the login.
        """
        return self._ask("POST", path, body)

    def everything(
        self, path: str, body: dict[str, Any] | None = None, *, most: int | None = None
    ) -> list[dict[str, Any]]:
        """Return what a filter finds, page by page: all, or the first `most`; raise as `post` does."""
        found: list[dict[str, Any]] = []
        while most is None or len(found) < most:
            page = self.post(path, {**(body or {}), "limit": _PAGE, "offset": len(found)})
            found += page
            if len(page) < _PAGE:
                break
        return found[:most]

    def patch(self, path: str, body: dict[str, Any]) -> None:
        """Change something, with retries while the server is busy; raise as `post` does."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._ask("PATCH", path, body)
            except ApiUnavailableError as error:
                if error.status != _BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return

    def delete(self, path: str) -> None:
        """Delete something; raise as `post` does."""
        self._ask("DELETE", path, {})

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the address is the platform's own
            self.url + path, content, self._headers, method=method
        )
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in {401, 403}:
                raise CommandError(f"{self.url} {self._refusal}") from None
            raise ApiUnavailableError(f"{self.url}{path} answered {error.code}", error.code) from None
        except (OSError, HTTPException, ValueError) as error:
            raise ApiUnavailableError(f"{self.url}{path}: {error}") from None

    def deployments(self) -> list[Deployment]:
        """Return every deployment."""
        return [
            Deployment(
                id=item["id"],
                name=item["name"],
                is_active=not item["paused"] and any(schedule["active"] for schedule in item["schedules"]),
            )
            for item in self.everything("/deployments/filter")
        ]

    def due_runs(self, deployments: list[Deployment]) -> list[FlowRun]:
        """Return the deployments' newest 100 runs whose start time has come, latest first."""
        names = {deployment.id: deployment.name for deployment in deployments}
        now = datetime.now(UTC) + timedelta(seconds=2)
        body = {
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": 100,
            "flow_runs": {
                "deployment_id": {"any_": list(names)},
                "expected_start_time": {"before_": now.isoformat()},
            },
        }
        items: list[dict[str, Any]] = self.post("/flow_runs/filter", body)
        return [
            FlowRun(
                id=item["id"],
                name=item["name"],
                deployment=names[item["deployment_id"]],
                state_type=item["state_type"] or "PENDING",
                state_name=item["state_name"] or "Pending",
                message=item["state"]["message"] or "" if item["state"] else "",
                since=datetime.fromisoformat(item["state"]["timestamp"]) if item["state"] else now,
            )
            for item in items
        ]


def _trusting(ca_file: Path | None) -> list[urllib.request.HTTPSHandler]:
    if not ca_file:
        return []
    context = ssl.create_default_context()
    try:
        if ca_file.stat().st_size:
            context.load_verify_locations(ca_file)
    except OSError as error:  # an SSLError is one
        raise CommandError(f"CA_CERT_FILE={ca_file} cannot be used: {error.strerror or error}") from None
    return [urllib.request.HTTPSHandler(context=context)]


def await_first_run(
    api: PrefectApi, timeout_seconds: float, report: Callable[[FlowRun], None]
) -> FlowRun | None:
    """Wait until a run of the Yeedu job's deployment is over, and return the newest such run.

    Args:
        api: The server.
        timeout_seconds: How long to wait, on the monotonic clock.
        report: Called once for each state of each run that has begun, except for runs already over.

    Returns:
        The run; ``None`` when there is none to wait for, because the deployment is not registered, or has
        neither a run nor an active schedule.

    Raises:
        CommandError: Time is up, or the API rejects the login.
    """
    last = "no run of it has begun"
    states: dict[str, str] | None = None
    for deployments, runs in _polled(api, timeout_seconds):
        if states is None:
            states = {run.id: run.state_name for run in runs if run.is_final}
        for run in reversed(runs):
            if run.has_begun and states.get(run.id) != run.state_name:
                states[run.id] = run.state_name
                report(run)
        mine = [run for run in runs if run.deployment == FIRST_RUN_DEPLOYMENT]
        over = next((run for run in mine if run.is_final), None)
        if over:
            return over
        if mine:
            last = f"{mine[0].name} is still {mine[0].state_name}"
        elif not any(item.name == FIRST_RUN_DEPLOYMENT and item.is_active for item in deployments):
            return None
    raise CommandError(
        f"{FIRST_RUN_DEPLOYMENT}: {last} after {timeout_seconds:.0f} s; the platform keeps running: "
        f"look at the run in the UI, or at the worker with `make logs`"
    )


def _polled(api: PrefectApi, timeout_seconds: float) -> Iterator[tuple[list[Deployment], list[FlowRun]]]:
    """Yield all deployments and their due runs twice a second until time is up."""
    deadline = time.monotonic() + timeout_seconds
    unavailable = ""
    while time.monotonic() < deadline:
        try:
            deployments = api.deployments()
            runs = api.due_runs(deployments)
            unavailable = ""
        except ApiUnavailableError as error:
            unavailable = str(error)
        else:
            yield deployments, runs
        time.sleep(0.5)
    if unavailable:
        raise CommandError(f"{unavailable}; the server stopped answering, see `make logs`")
