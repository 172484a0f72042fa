"""Talks to the Prefect server: waits for it, reads and writes blocks, explains its refusals."""

import re
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import httpx
from prefect import __version__ as own_version
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.context import SyncClientContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    get_current_settings,
    temporary_settings,
)
from prefect.utilities.collections import get_from_dict
from pydantic import JsonValue, ValidationError

from yeedu_deployer.errors import RefusedError, ServerError

T = TypeVar("T", covariant=True)
INVALID = re.compile(r"Validation failed for field '(.*?)'\. Failure reason: (.*)")
POLL_SECONDS = 0.1
PAGE = 200
UNAUTHORIZED = 401
NOT_THERE = (404, 405)  # Prefect Cloud does not tell whether it is ready, or its version
REFUSED = (403, *NOT_THERE)
REQUEST_TIMEOUT_SECONDS = 5.0
SECRET = "secret"  # noqa: S105 - a block type's slug
SLACK, WEBHOOK, EMAIL = "slack-webhook", "custom-webhook", "sendgrid-email"
GITHUB = "github-credentials"
# Imported only to write one: each module takes half a second or more, and most runs write none.
BLOCK_CLASSES = {
    SECRET: ("prefect.blocks.system", "Secret"),
    SLACK: ("prefect.blocks.notifications", "SlackWebhook"),
    WEBHOOK: ("prefect.blocks.notifications", "CustomWebhookNotificationBlock"),
    EMAIL: ("prefect.blocks.notifications", "SendgridEmail"),
    GITHUB: ("prefect_github", "GitHubCredentials"),
}


class _Reader(Protocol[T]):
    def __call__(self, *, limit: int, offset: int) -> Sequence[T]: ...


def wait_until_ready(api_url: str, timeout_seconds: float) -> None:
    """Wait until the server answers `/ready`, which also means that its database answers.

    A server without `/ready` is asked for its work pools instead. Raises `ServerError` if it rejects the
    credentials, or with its last answer if it is not ready in time.
    """
    deadline = time.monotonic() + timeout_seconds
    with _impatient_client(api_url) as client:
        while True:
            try:
                response = client.get("/ready")
                if response.status_code in NOT_THERE:
                    response = client.post("/work_pools/filter", json={"limit": 1})
            except httpx.TransportError as error:
                state = f"does not answer ({str(error) or type(error).__name__})"
            else:
                if response.is_success:
                    return
                if response.status_code == UNAUTHORIZED:
                    raise ServerError(f"The Prefect server at {api_url} cannot be used: {refusal()}.")
                path = response.request.url.path.removeprefix(urlsplit(api_url).path)
                state = f"answers {response.status_code} on {path}"
            if time.monotonic() >= deadline:
                raise ServerError(
                    f"The Prefect server at {api_url} {state} after {timeout_seconds:g} seconds; "
                    "check PREFECT_API_URL and the server's log."
                )
            time.sleep(POLL_SECONDS)


def _impatient_client(api_url: str) -> httpx.Client:
    """Return a client that logs in as Prefect's does, but does not retry."""
    settings = get_current_settings()
    verify: bool | str = settings.api.ssl_cert_file or not settings.api.tls_insecure_skip_verify
    headers = dict(settings.client.custom_headers)
    login: tuple[str, str] | None = None
    if auth_string := PREFECT_API_AUTH_STRING.value():
        user, _, password = auth_string.partition(":")
        login = (user, password)
    elif api_key := PREFECT_API_KEY.value():
        headers.setdefault("Authorization", f"Bearer {api_key}")
    return httpx.Client(
        base_url=api_url, auth=login, headers=headers, verify=verify, timeout=REQUEST_TIMEOUT_SECONDS
    )


@contextmanager
def open_client(api_url: str) -> Generator[SyncPrefectClient]:
    """Open a client, check that the server accepts its credentials, and print a note if its version differs.

    Prefect's own requests meanwhile, as to save a block, go through the same client.
    """
    with (
        temporary_settings({PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False}),  # it is checked below
        SyncClientContext() as context,
    ):
        client = context.client
        with explained(f"The Prefect server at {api_url} cannot be used"):
            version = _version(client)
        if version and version != own_version:
            print(
                f"note: the server has Prefect {version}, and this deployer {own_version}.", file=sys.stderr
            )
        yield client


def _version(client: SyncPrefectClient) -> str:
    """Return the server's version of Prefect; empty if it does not tell."""
    try:
        return str(client.request("GET", "/admin/version").json())
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in NOT_THERE:
            raise
        return ""


def all_pages(read: _Reader[T]) -> list[T]:
    """Read page after page until one is not full."""
    found: list[T] = []
    while True:
        page = read(limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found


def find_block(client: SyncPrefectClient, kind: str, name: str) -> BlockDocument | None:
    """Return a block with its secrets, or None if there is no such block."""
    with explained(f"The {kind} block {name!r} could not be read", quote_answer=False):
        try:
            return client.read_block_document_by_name(name, kind, include_secrets=True)
        except ObjectNotFound:
            return None


def read_secret(client: SyncPrefectClient, name: str) -> object | None:
    """Return the raw value of a Secret block, or None if there is no such block.

    `Secret.get` would turn a password of digits into a number.
    """
    found = find_block(client, SECRET, name)
    return found and found.data.get("value")


def write_block(kind: str, name: str, value: object) -> str:
    """Create or replace a block, and return its id; fields that are not configured get their defaults.

    An error never holds a value.
    """
    module, class_name = BLOCK_CLASSES[kind]
    block_type: Any = getattr(import_module(module), class_name)
    with explained(f"The {kind} block {name!r} could not be written", quote_answer=False):
        fields = {"value": value} if kind == SECRET else value
        return str(block_type.model_validate(fields).save(name, overwrite=True))


class Lookup:
    """Reads what templates name on the server, variables and values of blocks, each once.

    The texts from blocks are in `secrets`; no report may show them.
    """

    def __init__(self, client: SyncPrefectClient) -> None:
        self.secrets: set[str] = set()
        self._client = client
        self._blocks: dict[tuple[str, str], dict[str, Any] | None] = {}
        self._variables: dict[str, JsonValue] = {}

    def fields(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return what a block holds, by field; `None` if there is no block."""
        if (kind, name) not in self._blocks:
            found = find_block(self._client, kind, name)
            self._blocks[kind, name] = found and found.data
        return self._blocks[kind, name]

    def variable(self, name: str) -> JsonValue:
        """Return a variable's value, or raise a `LookupError`."""
        if name not in self._variables:
            with explained(f"The variable {name!r} could not be read"):
                found = self._client.read_variable_by_name(name)
            if found is None:
                raise LookupError(f"the server has no variable {name!r}; create it, or write the value")
            self._variables[name] = cast("JsonValue", found.value)
        return self._variables[name]

    def block(self, kind: str, name: str, keypath: str = "") -> JsonValue:
        """Return a block's value, or its part at `keypath`, as Prefect's own templates read it."""
        value: Any = self.fields(kind, name)
        if value is None:
            raise LookupError(
                f"the server has no block {name!r} of the type {kind!r}; create it, or write another"
            )
        if list(value) == ["value"] and keypath.partition(".")[0].partition("[")[0] != "value":
            value = value["value"]
        if keypath:
            value = get_from_dict(value, keypath, default=None)
            if value is None:
                raise LookupError(
                    f"the block {name!r} of the type {kind!r} has no {keypath!r}; name a part that it has"
                )
        self.secrets |= set(_texts(value))
        return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(cast("dict[str, Any]", value).values())
    if isinstance(value, list):
        return [text for part in cast("list[Any]", value) for text in _texts(part)]
    return [] if value is None else [str(value)]


@contextmanager
def explained(what: str, *, quote_answer: bool = True) -> Generator[None]:
    """Turn the client's errors into a `ServerError` of one sentence that begins with the clause `what`.

    Without `quote_answer`, for a request that carries a secret, the server's own words are left out.
    """
    try:
        yield
    except (ObjectNotFound, ObjectAlreadyExists) as error:
        raise ServerError(f"{what}: {_reason(error.http_exc, quote_answer)}.") from None
    except httpx.HTTPError as error:
        status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 0
        kind = RefusedError if status in REFUSED else ServerError
        reason = _reason(error, quote_answer)
        # A deployment's parameters have been checked; what the server can still refuse are its job variables.
        raise kind(f"{what}: {reason}.", "job_variables" if "'job_variables." in reason else "") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ServerError(f"{what}: {first['msg']}.") from None


def _reason(error: Exception, quote_answer: bool) -> str:
    if not isinstance(error, httpx.HTTPStatusError):
        return f"the server does not answer ({str(error) or type(error).__name__})"
    status = error.response.status_code
    if status == UNAUTHORIZED:
        return refusal()
    said = _answer_text(error.response) if quote_answer else ""
    return f"the server answered {status}" + (f": {said.rstrip('.')}" if said else "")


def refusal() -> str:
    """Return what to check when the server rejects the client's credentials."""
    if PREFECT_API_KEY.value() and not PREFECT_API_AUTH_STRING.value():
        return "the server rejects the API key; check PREFECT_API_KEY or its file"
    return "the server rejects the credentials; check PREFECT_API_AUTH_STRING or its file"


def _answer_text(response: httpx.Response) -> str:
    body: object = None
    with suppress(ValueError):
        body = response.json()
    answer = cast("dict[str, Any]", body if isinstance(body, dict) else {})
    said = answer.get("detail") or answer.get("exception_detail") or answer.get("exception_message") or ""
    if isinstance(said, list):  # pydantic's errors, of which the first is enough
        first = cast("list[dict[str, Any]]", said)[0]
        said = f"{'.'.join(str(part) for part in first['loc'][1:])!r}: {first['msg']}; change it"
    text = " ".join(str(said).split())[:500].rstrip(".")
    found = INVALID.search(text)
    return found.expand(r"'job_variables.\1' does not fit: \2; write a value that does") if found else text
