"""Waits for what a worker needs before it can poll: the Prefect server, and its work pool."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectAlreadyExists

T = TypeVar("T")
RETRY_SECONDS = 0.5
_NOT_FOUND, _CONFLICT, _SERVER_ERROR = 404, 409, 500


def ask_until_answered(ask: Callable[[SyncPrefectClient], T]) -> T:
    """Ask the server until it answers, however long that takes; says once that it is waited for.

    Raises:
        httpx.HTTPStatusError: The server is there, and refuses.
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
    """Return once the server has the work pool, which the deployer makes; says once what is waited for.

    A server that refuses the login is left to the worker, which says so.
    """
    is_told = False
    while True:
        try:
            ask_until_answered(
                lambda client: client.request("GET", "/work_pools/{name}", path_params={"name": name})
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code != _NOT_FOUND:
                return
        else:
            return
        if not is_told:
            print(f"worker: waiting for the work pool {name}, which the deployer makes", flush=True)
            is_told = True
        time.sleep(RETRY_SECONDS)


def make_queues(pool: str, names: Sequence[str]) -> None:
    """Make those of a worker's queues that the pool does not have yet: a poll for one that is missing fails.

    A server that refuses is left to the worker, which says so.
    """
    for name in names:
        try:
            ask_until_answered(lambda client, name=name: client.create_work_queue(name, work_pool_name=pool))
        except ObjectAlreadyExists:
            continue
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            print(f"worker: the queue {name} could not be made: the server answered {status}", flush=True)
