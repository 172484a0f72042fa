"""Waits until a worker can poll: for the Prefect server, and for its work pool."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import get_current_settings

from yeedu_worker.wait_status import waiting

T = TypeVar("T")
RETRY_SECONDS = 0.5
_UNAUTHORIZED, _NOT_FOUND, _SERVER_ERROR = 401, 404, 500


class LoginRefusedError(Exception):
    """The server refuses the login or the key, or asks for one; the message says what to check."""


def ask_until_answered(ask: Callable[[SyncPrefectClient], T]) -> T:
    """Ask the server until it answers, however long that takes; print once that it is waited for.

    Raises:
        httpx.HTTPStatusError: The server answers, and refuses.
    """
    is_told = False
    with get_client(sync_client=True) as client:
        while True:
            try:
                return ask(client)
            except httpx.HTTPError as error:
                if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < _SERVER_ERROR:
                    raise
            if not is_told:
                print("worker: waiting for the Prefect server", flush=True)
                is_told = True
            time.sleep(RETRY_SECONDS)


def wait_for_pool(name: str) -> None:
    """Wait until the server has the work pool, which the deployer creates; print once what is waited for.

    Raises:
        LoginRefusedError: The server refuses the login or the key.
    """
    if _has_pool(name):
        return
    print(f"worker: waiting for the work pool {name}, which the deployer makes", flush=True)
    with waiting(f"the work pool {name}, which the deployer makes"):
        while not _has_pool(name):
            time.sleep(RETRY_SECONDS)


def _has_pool(name: str) -> bool:
    """Tell whether the server has a work pool; true if it will not say, since the worker reports that.

    Raises:
        LoginRefusedError: The server refuses the login or the key.
    """
    try:
        ask_until_answered(
            lambda client: client.request("GET", "/work_pools/{name}", path_params={"name": name})
        )
    except httpx.HTTPStatusError as error:
        if error.response.status_code == _UNAUTHORIZED:
            raise LoginRefusedError(_refusal()) from None
        return error.response.status_code != _NOT_FOUND
    return True


def make_queues(pool: str, names: Sequence[str]) -> None:
    """Create those of a worker's queues that the pool does not have yet: a poll for a missing one fails.

    If the server refuses, print that and go on: the worker reports it too.
    """
    for name in names:
        try:
            ask_until_answered(lambda client, name=name: client.create_work_queue(name, work_pool_name=pool))
        except ObjectAlreadyExists:
            continue
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            print(f"worker: the queue {name} could not be made: the server answered {status}", flush=True)


def _refusal() -> str:
    api = get_current_settings().api
    if api.auth_string:  # it takes precedence
        return f"{api.url} rejects the login; check PREFECT_API_AUTH_STRING or its file"
    if api.key:
        return f"{api.url} rejects the API key; check PREFECT_API_KEY or its file"
    return f"{api.url} asks for a login; set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY for a key"
