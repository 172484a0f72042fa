"""Parses the addresses that users paste, and builds the links that they click."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.models import Generation, RunKind

DEFAULT_PORT = 8080
UI_PORT = 5173
REST_PORTS = (8080, 8443)

EXPECTED = (
    "Expected https://HOST:PORT/tenant/TENANT/workspace/NUMBER/spark/job/NUMBER "
    "(or .../spark/notebook/NUMBER, .../spark/conf/NUMBER), where PORT is the port of Yeedu's REST API, or https://HOST:PORT/healthCheck"
)


class TargetKind(StrEnum):
    """What an address points at."""

    JOB = "job"
    NOTEBOOK = "notebook"
    RUN = "run"
    HEALTH = "health"


@dataclass(frozen=True)
class Target:
    """What to run, or an existing run: an object in a workspace, independent of the server and the user.

    Attributes:
        kind: What the id names.
        workspace_id: Workspace id; 0 for a health check.
        id: Id of the definition or of the run; 0 for a health check, and if only the name is known.
        run_kind: What a definition or run is, if the address says so.
        generation: The API generation, if only one has this form of address.
        name: Name of the definition, to be looked up if there is no id.
    """

    kind: TargetKind
    workspace_id: int = 0
    id: int = 0
    run_kind: RunKind | None = None
    generation: Generation | None = None
    name: str = ""

    @classmethod
    def definition(cls, kind: RunKind, which: int | str, workspace_id: int | None) -> Target:
        """Return the job or notebook with an id or a name in a workspace.

        Raises:
            YeeduConfigurationError: The workspace is missing, or there is neither an id nor a name.
        """
        text = str(which).strip()
        identifier = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
        if not text or text == "0" or (isinstance(which, int) and not identifier):
            raise YeeduConfigurationError(f"'{text}' is neither the id nor the name of a {kind}; correct it.")
        if workspace_id is None or workspace_id <= 0:
            raise YeeduConfigurationError(
                f"The {kind} '{text}' is named without its workspace; give the workspace's id as workspace, "
                f"or the {kind}'s address instead."
            )
        return cls(TargetKind(kind), workspace_id, identifier, kind, name="" if identifier else text)


@dataclass(frozen=True)
class YeeduURL:
    """A parsed address.

    Attributes:
        kind: What the address points at.
        scheme: `http` or `https`.
        host: Host name or address, in lower case and without brackets.
        port: Port of the REST API.
        prefix: Path in front of everything else, when a reverse proxy adds one; starts with `/` or is empty.
        tenant: Tenant id; empty for a health check.
        workspace_id: Workspace id; 0 for a health check.
        id: Id of the definition or of the run; 0 for a health check.
        run_kind: What a definition or run is, if the address says so.
        generation: The API generation, if only one has this form of address.
    """

    kind: TargetKind
    scheme: str
    host: str
    port: int
    prefix: str = ""
    tenant: str = ""
    workspace_id: int = 0
    id: int = 0
    run_kind: RunKind | None = None
    generation: Generation | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self._bracketed_host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Base of the REST API, without a slash at the end."""
        return f"{self.origin}{self.prefix}/api/v1"

    @property
    def target(self) -> Target:
        """What the address points at, without the server it is on."""
        return Target(self.kind, self.workspace_id, self.id, self.run_kind, self.generation)

    @property
    def _bracketed_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def run_page(
    base_url: str,
    tenant: str,
    workspace_id: int,
    run_id: int,
    kind: RunKind,
    generation: Generation,
    ui_url: str | None = None,
) -> str:
    """Return the address of a run's page in Yeedu's user interface.

    Args:
        base_url: Base of the REST API.
        tenant: The tenant.
        workspace_id: The run's workspace.
        run_id: The run.
        kind: What the run executes.
        generation: V2 has the page at a different path from the older generations.
        ui_url: Base to use instead of the rules in yeedu-protocol section 1.4.
    """
    place = "run" if generation is Generation.V2 else "spark"
    page = "spark_job" if kind is RunKind.JOB else "notebook"
    base = ui_url.rstrip("/") if ui_url else _ui_base(urlsplit(base_url.removesuffix("/api/v1")), generation)
    return (
        f"{base}/tenant/{quote(tenant, safe='')}/workspace/{workspace_id}"
        f"/{place}/{run_id}/run-metrics?type={page}"
    )


def _ui_base(server: SplitResult, generation: Generation) -> str:
    host = server.netloc.removesuffix(f":{server.port}")
    if generation is not Generation.V2:
        return f"{server.scheme}://{host}{server.path}"
    port = UI_PORT if server.port in REST_PORTS else server.port
    return f"{server.scheme}://{host}:{port}{server.path}"


def parse_url(text: str) -> YeeduURL:
    """Return what an address of Yeedu points at.

    Every form in yeedu-protocol section 1.2 is understood, with or without a port (default 8080), with a path
    in front of `/tenant/`, with an IPv6 host, and the addresses of runs.

    Raises:
        YeeduConfigurationError: The address is none of these; the text shows the expected form.
    """
    parts = _split(text)
    segments = [segment for segment in parts.path.split("/") if segment]
    scheme, host, port = parts.scheme, (parts.hostname or "").lower(), _port(parts, text)
    if segments and segments[-1].lower() == "healthcheck":
        leading = segments[:-1]
        if leading[-2:] == ["api", "v1"]:
            leading = leading[:-2]
        return YeeduURL(TargetKind.HEALTH, scheme, host, port, _path(leading))
    tenant_at = _find_tenant(segments)
    if tenant_at is None:
        raise _refusal(text, "it has no /tenant/.../workspace/... part")
    rest = segments[tenant_at + 4 :]
    kind, identifier, run_kind, generation = _target(rest, parts.query, text)
    return YeeduURL(
        kind,
        scheme,
        host,
        port,
        _path(segments[:tenant_at]),
        tenant=unquote(segments[tenant_at + 1]),
        workspace_id=_number(segments[tenant_at + 3], "workspace", text),
        id=identifier,
        run_kind=run_kind,
        generation=generation,
    )


def parse_host(text: str) -> str:
    """Return the base of the REST API for a server's address, such as `https://yeedu.example:8080`.

    Raises:
        YeeduConfigurationError: The text is not such an address.
    """
    parts = _split(text)
    segments = [segment for segment in parts.path.split("/") if segment]
    if segments[-2:] == ["api", "v1"]:
        segments = segments[:-2]
    if "tenant" in segments or parts.query or parts.fragment:
        raise YeeduConfigurationError(
            "The host is the address of Yeedu's REST API alone, such as https://yeedu.example:8080; "
            "leave out what follows."
        )
    host = (parts.hostname or "").lower()
    return YeeduURL(TargetKind.HEALTH, parts.scheme, host, _port(parts, text), _path(segments)).base_url


def _split(text: str) -> SplitResult:
    stripped = text.strip()
    if not stripped:
        raise YeeduConfigurationError(f"The Yeedu URL is empty. {EXPECTED}.")
    try:
        parts = urlsplit(stripped)
        has_host = bool(parts.hostname)
    except ValueError:
        raise _refusal(stripped, "it is not a URL") from None
    if parts.scheme not in {"http", "https"}:
        raise _refusal(stripped, "it does not begin with http:// or https://")
    if not has_host:
        raise _refusal(stripped, "it names no host")
    return parts


def _port(parts: SplitResult, text: str) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise _refusal(text, "its port is not a number from 1 to 65535")
    return port or DEFAULT_PORT


def _find_tenant(segments: list[str]) -> int | None:
    """Return where `tenant/X/workspace/N` begins, wherever it is in the path."""
    for index in range(len(segments) - 3):
        if segments[index] == "tenant" and segments[index + 2] == "workspace":
            return index
    return None


def _target(
    rest: list[str], query: str, text: str
) -> tuple[TargetKind, int, RunKind | None, Generation | None]:
    """Return kind, id, run kind and generation from what follows the workspace."""
    is_below_spark = rest[:1] == ["spark"]
    if is_below_spark:
        rest = rest[1:]
    match rest:
        case ["run", run_id, *_]:
            return TargetKind.RUN, _number(run_id, "run", text), _run_kind(query), Generation.V2
        case [run_id, "run-metrics" | "run-logs", *_] if is_below_spark:
            return TargetKind.RUN, _number(run_id, "run", text), _run_kind(query), Generation.V1
        case ["notebook", identifier, *_]:
            return TargetKind.NOTEBOOK, _number(identifier, "notebook", text), RunKind.NOTEBOOK, None
        case ["job", identifier, *_]:
            return TargetKind.JOB, _number(identifier, "job", text), RunKind.JOB, Generation.V2
        case _ if "conf" in rest[:-1]:
            return _conf_target(rest[rest.index("conf") + 1 :], text)
        case _:
            raise _refusal(text, "it names no job, notebook or run after the workspace")


def _conf_target(rest: list[str], text: str) -> tuple[TargetKind, int, RunKind | None, Generation | None]:
    """Return the target that follows `conf`: V1 has the id there, V1B one segment later."""
    is_v1b = len(rest) > 1 and not rest[0].isdigit()
    identifier = rest[1] if is_v1b else rest[0]
    generation = Generation.V1B if is_v1b else Generation.V1
    return TargetKind.JOB, _number(identifier, "job", text), RunKind.JOB, generation


def _run_kind(query: str) -> RunKind | None:
    """Return the kind that the address of a run's page states; that of its log page states none."""
    kinds = {"notebook": RunKind.NOTEBOOK, "spark_job": RunKind.JOB}
    return next((kinds[value] for value in parse_qs(query).get("type", ()) if value in kinds), None)


def _number(segment: str, what: str, text: str) -> int:
    if not (segment.isascii() and segment.isdigit() and int(segment[:19]) > 0 and len(segment) < 19):
        raise _refusal(text, f"its {what} id '{segment}' is not a positive number")
    return int(segment)


def _path(segments: list[str]) -> str:
    return "".join(f"/{segment}" for segment in segments)


def _refusal(text: str, reason: str) -> YeeduConfigurationError:
    """Return the error for an address, which is shown without any secrets in it."""
    shown = text.strip().partition("?")[0].partition("#")[0]
    scheme, separator, rest = shown.partition("://")
    authority, slash, path = (rest if separator else scheme).partition("/")
    authority = authority.rpartition("@")[2]
    shown = f"{scheme}{separator}{authority}{slash}{path}" if separator else f"{authority}{slash}{path}"
    return YeeduConfigurationError(f"'{shown[:300]}' is not a Yeedu URL: {reason}. {EXPECTED}.")
