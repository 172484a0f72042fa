"""The smoke test of a new release: one flow run in a queue of its own."""

import contextlib
import time
from typing import Any
from urllib.parse import quote

from local.api import FINAL_STATES, FIRST_RUN_DEPLOYMENT, ApiUnavailableError, PrefectApi
from local.console import Console
from local.errors import CommandError
from local.upgrade.retries import GoneError, everything, post, with_retries

QUEUE = "make-upgrade-smoke-run"
_SMOKE_SECONDS = 600.0
_CONFLICT = 409


def make_queue(api: PrefectApi) -> None:
    """Create the smoke run's queue; a worker that polls only some queues finds it when started again.

    Raises:
        CommandError: The server refuses.
    """
    if not (pool := str(_deployment(api).get("work_pool_name") or "")):
        return
    try:
        api.post(f"/work_pools/{quote(pool, safe='')}/queues", {"name": QUEUE})
    except ApiUnavailableError as error:
        if error.status != _CONFLICT:  # left by an interrupted upgrade
            raise CommandError(f"the queue of the smoke run cannot be made: {error}") from None


def smoke(api: PrefectApi, version: str, console: Console) -> None:
    """Run only the deployment whose first run `make up` waits for.

    Raises:
        CommandError: The run does not end as Completed.
    """
    deployment = _deployment(api)
    pool = str(deployment.get("work_pool_name") or "")
    pools = everything(api, "/work_pools/filter")
    paused = [one for one in pools if one["name"] == pool and one["is_paused"]]
    if not pool or paused:
        why = f"{pool} is paused" if pool else f"no deployment is named {FIRST_RUN_DEPLOYMENT}"
        console.step(f"smoke        left out: {why}")
        return
    made = post(
        api,
        f"/deployments/{deployment['id']}/create_flow_run",
        {
            "name": _tag(version),
            "tags": [_tag(version)],
            "work_queue_name": QUEUE,
            "state": {"type": "SCHEDULED", "message": f"make upgrade tries {version}"},
        },
    )
    _await_completed(api, str(made["id"]), console)


def forget_runs(api: PrefectApi, version: str) -> None:
    """Delete the smoke runs of a release that is rolled back; those of earlier releases stay.

    Raises:
        CommandError: The server does not answer.
    """
    body = {"flow_runs": {"work_queue_name": {"any_": [QUEUE]}, "tags": {"all_": [_tag(version)]}}}
    for run in post(api, "/flow_runs/filter", body):
        with contextlib.suppress(GoneError):
            with_retries(lambda path=f"/flow_runs/{run['id']}": api.delete(path))


def forget_queue(api: PrefectApi) -> None:
    """Delete the smoke run's queue, and no other.

    Raises:
        CommandError: The server does not answer.
    """
    for pool in everything(api, "/work_pools/filter"):
        path = f"/work_pools/{quote(pool['name'], safe='')}/queues/{QUEUE}"
        with contextlib.suppress(GoneError):
            with_retries(lambda path=path: api.delete(path))


def _tag(version: str) -> str:
    """Return the tag that marks the smoke runs of a release, since a flow may choose its run's name."""
    return f"smoke-of-{version}"


def _deployment(api: PrefectApi) -> dict[str, Any]:
    """Return the deployment of the smoke run; empty if there is none."""
    body = {"deployments": {"name": {"any_": [FIRST_RUN_DEPLOYMENT]}}}
    found = post(api, "/deployments/filter", body)
    return found[0] if found else {}


def _await_completed(api: PrefectApi, run_id: str, console: Console) -> None:
    """Wait until a flow run is Completed, and print each of its states once."""
    deadline, shown = time.monotonic() + _SMOKE_SECONDS, ""
    while time.monotonic() < deadline:
        [run] = post(api, "/flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}}) or [None]
        if run is None:
            raise CommandError("the smoke run is gone")
        if run["state_name"] != shown:
            shown = str(run["state_name"])
            console.step(f"smoke        {FIRST_RUN_DEPLOYMENT} {shown}")
        if run["state_type"] == "COMPLETED":
            return
        if run["state_type"] in FINAL_STATES:
            why = str(run["state"]["message"] or "").strip().partition("\n")[0]
            raise CommandError(
                f"the smoke run of {FIRST_RUN_DEPLOYMENT} ended {shown}{f': {why}' if why else ''}"
            )
        time.sleep(0.5)
    raise CommandError(
        f"the smoke run of {FIRST_RUN_DEPLOYMENT} is still {shown} after {_SMOKE_SECONDS:.0f} s"
    )
