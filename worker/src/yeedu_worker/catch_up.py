"""Handles the runs that a work pool missed while no worker polled it, before a worker polls again.

Prefect starts them all at once when a worker comes back, oldest first: a five-minute deployment without a
worker for a night would run 144 times. Instead, each deployment chooses by a tag:

    catch-up:latest   the newest missed run of each schedule runs (without a tag, too)
    catch-up:all      every missed run runs
    catch-up:skip     none runs; the next one is the next tick

A dropped run ends as Cancelled, under the name Skipped, so that the server never creates it again. Runs that
people or other flows started are left alone, and so are those of a queue that another worker polls: there,
nothing was missed, and runs are only waiting.
"""

import datetime as dt
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, cast

import httpx
from prefect.client.orchestration import SyncPrefectClient

from yeedu_worker.entrypoint import WorkerConfigurationError, work_queues
from yeedu_worker.pool import ask_until_answered

TAG_PREFIX = "catch-up:"
# A worker that merely restarts misses nothing: a run that has been due for less than this is never skipped.
GRACE_SECONDS = 60.0
# States of runs that no worker has claimed yet; a run that waits for a concurrency slot or a retry has begun.
UNTAKEN = ("Scheduled", "Late")
SKIPPED = "Skipped"  # the state's name of a run that was dropped
READ_PAGE, WRITE_PAGE = 200, 50
# A queue whose last poll is older counts as not polled: Prefect then calls it not ready.
POLLED_SECONDS = 60.0
NOT_FOUND, SERVER_ERROR = 404, 500


class Policy(StrEnum):
    """What happens to the runs that a deployment missed."""

    LATEST = "latest"
    ALL = "all"
    SKIP = "skip"


@dataclass(frozen=True)
class MissedRun:
    """A run of a schedule that was due while nobody polled.

    Attributes:
        id: The flow run's id.
        deployment: Its deployment's name.
        schedule: Which of the deployment's schedules created it.
        due: When it should have started.
        policy: The policy of its deployment.
    """

    id: str
    deployment: str
    schedule: str
    due: dt.datetime
    policy: Policy


@dataclass
class CaughtUp:
    """What was found and done for one pool.

    Attributes:
        polled: The queues that another worker already polls; their runs were left alone.
        skipped: How many runs of each deployment were dropped, or would be.
    """

    polled: list[str] = field(default_factory=list[str])
    skipped: Counter[str] = field(default_factory=Counter[str])


def policy_of(tags: Iterable[str]) -> Policy:
    """Return a deployment's policy from its tags; an unknown tag counts as none."""
    for policy in Policy:
        if f"{TAG_PREFIX}{policy}" in tags:
            return policy
    return Policy.LATEST


def to_drop(missed: Sequence[MissedRun], now: dt.datetime) -> list[MissedRun]:
    """Return the missed runs that must not run."""
    by_schedule: dict[tuple[str, str], list[MissedRun]] = defaultdict(list)
    for run in missed:
        by_schedule[run.deployment, run.schedule].append(run)
    dropped: list[MissedRun] = []
    for runs in by_schedule.values():
        runs.sort(key=lambda run: run.due)
        policy = runs[0].policy
        unwanted = [] if policy is Policy.ALL else runs[:-1] if policy is Policy.LATEST else runs
        dropped += [run for run in unwanted if (now - run.due).total_seconds() >= GRACE_SECONDS]
    return dropped


def catch_up(
    client: SyncPrefectClient,
    pool: str,
    *,
    queues: Sequence[str] = (),
    own_name: str = "",
    plan_only: bool = False,
) -> CaughtUp:
    """Apply the policies of all deployments of a pool to the runs that they missed.

    Args:
        client: An open client.
        pool: The work pool; one that does not exist has missed nothing.
        queues: The queues that are about to be polled; none means every queue of the pool.
        own_name: The name of the worker that is about to poll; its record may still be online.
        plan_only: Whether only to count.

    Raises:
        httpx.HTTPError: The server does not answer, or refuses.
    """
    found = CaughtUp()
    try:
        workers = _pages(client, f"/work_pools/{pool}/workers/filter", {})
        known = _pages(client, f"/work_pools/{pool}/queues/filter", {})
    except httpx.HTTPStatusError as error:
        if error.response.status_code == NOT_FOUND:
            return found
        raise
    now = server_time(client)
    wanted = [queue for queue in known if not queues or queue["name"] in queues]
    if any(one["status"] == "ONLINE" and one["name"] != own_name for one in workers):
        found.polled = [queue["name"] for queue in wanted if _is_polled(queue, now)]
    unserved = [queue["name"] for queue in wanted if queue["name"] not in found.polled]
    dropped = to_drop(_missed_runs(client, pool, unserved, now), now) if unserved else []
    if plan_only:
        found.skipped.update(run.deployment for run in dropped)
        return found
    for start in range(0, len(dropped), WRITE_PAGE):
        page = dropped[start : start + WRITE_PAGE]
        ended = _end(client, [run.id for run in page])
        found.skipped.update(run.deployment for run in page if run.id in ended)
    return found


def catch_up_before_polling(pool: str, worker_name: str, queues: Sequence[str] = ()) -> None:
    """Catch up one pool, or some of its queues.

    Waits for a server that does not answer yet: until then, its worker could not poll either.
    """
    try:
        found = ask_until_answered(lambda client: catch_up(client, pool, queues=queues, own_name=worker_name))
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        print(f"worker: the runs that {pool} missed were left as they are: the server answered {status}")
        return
    for deployment, number in sorted(found.skipped.items()):
        print(f"worker: skipped {number} missed runs of {deployment}", flush=True)


def _is_polled(queue: dict[str, Any], now: dt.datetime) -> bool:
    last = queue["last_polled"]
    return bool(last) and (now - dt.datetime.fromisoformat(last)).total_seconds() <= POLLED_SECONDS


def _missed_runs(
    client: SyncPrefectClient, pool: str, queues: Sequence[str], now: dt.datetime
) -> list[MissedRun]:
    deployments = {
        item["id"]: (item["name"], policy_of(item["tags"]))
        for item in _pages(client, "/deployments/filter", {"work_pools": {"name": {"any_": [pool]}}})
    }
    wanted = {
        "work_pools": {"name": {"any_": [pool]}},
        "work_pool_queues": {"name": {"any_": list(queues)}},
        "flow_runs": {
            "state": {"name": {"any_": list(UNTAKEN)}},
            "expected_start_time": {"before_": now.isoformat()},
        },
        "sort": "EXPECTED_START_TIME_ASC",
    }
    return [
        MissedRun(
            id=item["id"],
            deployment=deployments[item["deployment_id"]][0],
            schedule=_schedule_of(item),
            due=dt.datetime.fromisoformat(item["expected_start_time"]),
            policy=deployments[item["deployment_id"]][1],
        )
        for item in _pages(client, "/flow_runs/filter", wanted)
        if item["auto_scheduled"] and item["deployment_id"] in deployments
    ]


def _schedule_of(item: dict[str, Any]) -> str:
    creator = cast("dict[str, Any]", item.get("created_by") or {})
    return str(creator.get("id"))


def _end(client: SyncPrefectClient, ids: Sequence[str]) -> set[str]:
    """Cancel runs that no worker has claimed meanwhile; return those that were cancelled."""
    body = {
        "flow_runs": {"id": {"any_": list(ids)}, "state": {"name": {"any_": list(UNTAKEN)}}},
        "state": {
            "type": "CANCELLED",
            "name": SKIPPED,
            "message": "No worker polled when this run was due; the deployment's catch-up policy drops it.",
        },
        "limit": WRITE_PAGE,
    }
    results = cast("dict[str, Any]", _post(client, "/flow_runs/bulk_set_state", body))["results"]
    return {result["flow_run_id"] for result in results if result["status"] == "ACCEPT"}


def _pages(client: SyncPrefectClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = _post(client, path, {**body, "limit": READ_PAGE, "offset": len(found)})
        found += page
        if len(page) < READ_PAGE:
            return found


def _post(client: SyncPrefectClient, path: str, body: dict[str, Any]) -> Any:
    # The client's type for routes lists those of its typed calls; these filters are not among them.
    return client.request("POST", cast("Any", path), json=body).json()


def server_time(client: SyncPrefectClient) -> dt.datetime:
    """Return the time on the server's clock, rounded down to whole seconds."""
    try:
        answer = client.request("GET", "/health")
    except httpx.HTTPStatusError as error:
        if error.response.status_code >= SERVER_ERROR:
            raise
        answer = error.response  # it has the time even where there is no such page
    stated = answer.headers.get("date")
    now = parsedate_to_datetime(stated) if stated else dt.datetime.now(dt.UTC)
    return now.astimezone(dt.UTC).replace(microsecond=0)


def main() -> None:
    """Catch up the pool of `WORKER_POOL`, or its `WORKER_QUEUES`.

    For workers that are started without this platform's entrypoint.
    """
    if not os.environ.get("PREFECT_API_URL"):
        sys.exit("worker: PREFECT_API_URL is not set; set it to the server's API")
    try:
        queues = work_queues(os.environ)
    except WorkerConfigurationError as error:
        sys.exit(f"worker: {error}")
    catch_up_before_polling(
        os.environ.get("WORKER_POOL") or "yeedu-pool", os.environ.get("WORKER_NAME") or "", queues
    )


if __name__ == "__main__":
    main()
