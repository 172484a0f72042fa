"""Waits for what a worker needs before it can poll: the Prefect server, and its work pool."""

import time

import httpx
from prefect.client.orchestration import get_client

POLL_SECONDS = 0.25
_NOT_FOUND, _SERVER_ERROR = 404, 500


def wait_for_pool(name: str) -> None:
    """Return once the server has the work pool, which the deployer makes; says once what is waited for.

    A server that refuses the login is left to the worker, which says so.
    """
    told: set[str] = set()
    while True:
        try:
            with get_client(sync_client=True) as client:
                client.request("GET", "/work_pools/{name}", path_params={"name": name})
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status == _NOT_FOUND:
                awaited = f"the work pool {name}, which the deployer makes"
            elif status >= _SERVER_ERROR:
                awaited = "the Prefect server"
            else:
                return
        except httpx.HTTPError:
            awaited = "the Prefect server"
        else:
            return
        if awaited not in told:
            print(f"worker: waiting for {awaited}", flush=True)
            told.add(awaited)
        time.sleep(POLL_SECONDS)
