"""The Prefect server as the deployer meets it: wait for it, open a client, and explain its refusals."""

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import httpx
from prefect import __version__ as own_version
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import SyncClientContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    get_current_settings,
    temporary_settings,
)
from pydantic import ValidationError

from yeedu_deployer.errors import ServerError

T = TypeVar("T", covariant=True)
POLL_SECONDS = 0.1
PAGE = 200
UNAUTHORIZED = 401
NOT_THERE = (404, 405)  # Prefect Cloud tells neither whether it is ready nor its version
REQUEST_TIMEOUT_SECONDS = 5.0


class _Reader(Protocol[T]):
    def __call__(self, *, limit: int, offset: int) -> Sequence[T]: ...


def wait_until_ready(api_url: str, timeout_seconds: float) -> None:
    """Wait until the server answers `/ready`, which also means that its database answers.

    A server without `/ready` is asked for its work pools instead.

    Args:
        api_url: The API's URL without a trailing slash.
        timeout_seconds: How long to wait on the monotonic clock before giving up.

    Raises:
        ServerError: The server refuses the credentials, or was not ready in time; the sentence holds what it
            last did.
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
    """Return a client that logs in as Prefect's does, and asks once where that one would ask again."""
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
    """Open a client, make sure that the server accepts its credentials, and say if it is of another version.

    Whatever Prefect does itself meanwhile, as when it saves a block, goes through the same client.

    Raises:
        ServerError: The server does not accept the configured authentication.
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
    """Return the server's version of Prefect; empty where it tells none."""
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


@contextmanager
def explained(what: str, *, quote_answer: bool = True) -> Generator[None]:
    """Turn whatever the client raises into one sentence that begins with `what`.

    Args:
        what: A clause without a full stop, for example `The work pool 'x' could not be created`.
        quote_answer: Whether the server's own words may be shown; not where a request carried a secret.
    """
    try:
        yield
    except (ObjectNotFound, ObjectAlreadyExists) as error:
        cause = error.http_exc
        raise ServerError(f"{what}: {_reason(cause, quote_answer)}.") from None
    except httpx.HTTPError as error:
        raise ServerError(f"{what}: {_reason(error, quote_answer)}.") from None
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
    """Say what to check when the server refuses what Prefect's client has sent, if anything."""
    if PREFECT_API_KEY.value() and not PREFECT_API_AUTH_STRING.value():
        return "the server refuses the key; check PREFECT_API_KEY or its file"
    return "the server refuses the credentials; check PREFECT_API_AUTH_STRING or its file"


def _answer_text(response: httpx.Response) -> str:
    try:
        body: object = response.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    answer = cast("dict[str, Any]", body)
    said = answer.get("detail") or answer.get("exception_detail") or answer.get("exception_message") or ""
    return " ".join(str(said).split())[:500]
