"""Waits for what a worker needs before it can poll: the Prefect server, and its work pool."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client

T = TypeVar("T")
RETRY_SECONDS = 0.5
_NOT_FOUND, _SERVER_ERROR = 404, 500


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
