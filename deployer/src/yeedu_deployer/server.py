"""The Prefect server as the deployer meets it: wait for it, open a client, and explain its refusals."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import ValidationError

from yeedu_deployer.errors import ServerError

T = TypeVar("T", covariant=True)
POLL_SECONDS = 0.25
PAGE = 200
UNAUTHORIZED = 401
REQUEST_TIMEOUT_SECONDS = 5.0


class _Reader(Protocol[T]):
    def __call__(self, *, limit: int, offset: int) -> Sequence[T]: ...


def wait_until_ready(api_url: str, timeout_seconds: float) -> None:
    """Wait until the server answers `/ready`, which also means that its database answers.

    Args:
        api_url: The API's URL without a trailing slash.
        timeout_seconds: How long to wait on the monotonic clock before giving up.

    Raises:
        ServerError: The server was not ready in time; the sentence holds what it last did.
    """
    settings = get_current_settings().api
    verify: bool | str = settings.ssl_cert_file or not settings.tls_insecure_skip_verify
    deadline = time.monotonic() + timeout_seconds
    with httpx.Client(verify=verify, timeout=REQUEST_TIMEOUT_SECONDS) as client:
        while True:
            try:
                response = client.get(f"{api_url}/ready")
            except httpx.TransportError as error:
                state = f"does not answer ({str(error) or type(error).__name__})"
            else:
                if response.is_success:
                    return
                state = f"answers {response.status_code} on /ready"
            if time.monotonic() >= deadline:
                raise ServerError(
                    f"The Prefect server at {api_url} {state} after {timeout_seconds:g} seconds; "
                    "check PREFECT_API_URL and the server's log."
                )
            time.sleep(POLL_SECONDS)


@contextmanager
def open_client(api_url: str) -> Generator[SyncPrefectClient]:
    """Open a client and make sure that the server accepts its credentials.

    Raises:
        ServerError: The server does not accept the configured authentication.
    """
    with get_client(sync_client=True) as client:
        with explained(f"The Prefect server at {api_url} cannot be used"):
            client.request("GET", "/admin/version")
        yield client


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
        return "the server refuses the credentials; check PREFECT_API_AUTH_STRING or its file"
    said = _answer_text(error.response) if quote_answer else ""
    return f"the server answered {status}" + (f": {said.rstrip('.')}" if said else "")


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
