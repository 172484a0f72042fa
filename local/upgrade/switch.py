"""The switch: queues paused, runs handed over, the database copied, the files changed, everything started.

Nothing but one run, which shows that it works, is run by the new release before that run has Completed: what
is due waits in queues that are paused. So whatever fails, the way back loses and doubles nothing.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from local.api import FINAL_STATES, FIRST_RUN_DEPLOYMENT, ApiUnavailableError, PrefectApi
from local.console import Console
from local.errors import CommandError
from local.knobs import ROOT, Knobs
from local.upgrade import bundles
from local.upgrade import journal as journals
from local.upgrade.forms import Form
from local.upgrade.git import Git
from local.upgrade.journal import Journal, Phase
from local.upgrade.stages import run_stage

_QUEUE = "upgrade"
_SMOKE_SECONDS = 600.0
_API_SECONDS = 90.0
_GONE = 404


def switch(form: Form, git: Git, journal: Journal, knobs: Knobs, console: Console) -> Journal:
    """Let the checkout be the new release and the platform run it.

    Raises:
        CommandError: It does not; the way back is the caller's.
    """
    api = PrefectApi.of(knobs)
    form.keep_programs()
    form.copy.discard()
    queues = [queue["id"] for queue in _queues(api) if not queue["is_paused"] and _waits(queue, knobs)]
    journal = journals.write(dataclasses.replace(journal, phase=Phase.SWITCHING, queues=tuple(queues)))
    set_paused(api, queues, is_paused=True)
    console.step(f"switch       {len(queues)} queues are paused: what is due waits for the new release")
    form.stop()
    form.copy.make()
    console.step("switch       runs are handed over, and the database is copied as it is now")
    git.put(journal.new_commit, journal.old_commit)
    bundles.take(journal.bundle)
    console.step(f"switch       the checkout's files are those of {journal.new}")
    run_stage(ROOT, ("start", "--form", form.name), {}, console)
    console.step("switch       every service is healthy")
    smoke(api, knobs, journal.new, console)
    journal = journals.write(dataclasses.replace(journal, phase=Phase.SWITCHED))
    finish(form, journal, knobs)
    return journal


def finish(form: Form, journal: Journal, knobs: Knobs) -> None:
    """End an upgrade that has succeeded: what was due runs now, and the copy goes."""
    set_paused(PrefectApi.of(knobs), journal.queues, is_paused=False)
    form.copy.discard()


def set_paused(api: PrefectApi, queues: Sequence[str], *, is_paused: bool) -> None:
    """Pause queues, or let them go on.

    Raises:
        CommandError: The server does not do so.
    """
    for queue in queues:
        with contextlib.suppress(_GoneError):
            _patiently(lambda path=f"/work_queues/{queue}": api.patch(path, {"is_paused": is_paused}))


def smoke(api: PrefectApi, knobs: Knobs, version: str, console: Console) -> None:
    """Run the deployment whose first run `make up` waits for, alone, in a queue of its own.

    Raises:
        CommandError: It does not Complete.
    """
    body = {"deployments": {"name": {"any_": [FIRST_RUN_DEPLOYMENT]}}}
    found = _asked(api, "/deployments/filter", body)
    pool = str(found[0]["work_pool_name"] or "") if found else ""
    paused = [
        one for one in _asked(api, "/work_pools/filter", {}) if one["name"] == pool and one["is_paused"]
    ]
    if not pool or paused:
        why = f"{pool} is paused" if pool else f"no deployment is named {FIRST_RUN_DEPLOYMENT}"
        console.step(f"smoke        left out: {why}")
        return
    own = _first_queue(knobs)
    if not own:
        _make_queue(api, pool)
    try:
        made = _asked(
            api,
            f"/deployments/{found[0]['id']}/create_flow_run",
            {
                "name": f"smoke-of-{version}",
                "work_queue_name": own or _QUEUE,
                "state": {"type": "SCHEDULED", "message": f"make upgrade tries {version}"},
            },
        )
        _await_completed(api, str(made["id"]), console)
    finally:
        if not own:
            _forget_queue(api, pool)


def _await_completed(api: PrefectApi, run_id: str, console: Console) -> None:
    """Wait until a flow run has Completed, and print each of its states once."""
    deadline, shown = time.monotonic() + _SMOKE_SECONDS, ""
    while time.monotonic() < deadline:
        [run] = _asked(api, "/flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}}) or [None]
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


def _first_queue(knobs: Knobs) -> str:
    """Return the first queue of a worker that takes some queues alone; empty for one that takes all."""
    return knobs.get("WORKER_QUEUES").split(",")[0].strip()


def _waits(queue: dict[str, Any], knobs: Knobs) -> bool:
    return not _first_queue(knobs) or queue["name"] != _first_queue(knobs)


def _queues(api: PrefectApi) -> list[dict[str, Any]]:
    pools = _asked(api, "/work_pools/filter", {})
    return [
        queue
        for pool in pools
        for queue in _asked(api, f"/work_pools/{quote(pool['name'], safe='')}/queues/filter", {})
    ]


def _make_queue(api: PrefectApi, pool: str) -> None:
    try:
        api.post(f"/work_pools/{quote(pool, safe='')}/queues", {"name": _QUEUE})
    except ApiUnavailableError as error:
        if error.status != 409:  # of an upgrade that was cut off
            raise CommandError(f"the queue of the smoke run cannot be made: {error}") from None


def _forget_queue(api: PrefectApi, pool: str) -> None:
    try:
        api.delete(f"/work_pools/{quote(pool, safe='')}/queues/{_QUEUE}")
    except (ApiUnavailableError, CommandError):
        return  # the server may be what failed


def _asked(api: PrefectApi, path: str, body: dict[str, Any]) -> Any:
    return _patiently(lambda: api.post(path, body))


class _GoneError(CommandError):
    """What was asked for was deleted meanwhile."""


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask until there is an answer: a server that has just started, or a busy one, takes its time.

    Raises:
        CommandError: There is none in time.
    """
    deadline = time.monotonic() + _API_SECONDS
    while True:
        try:
            return ask()
        except ApiUnavailableError as error:
            if error.status == _GONE:
                raise _GoneError(str(error)) from None
            if time.monotonic() > deadline:
                raise CommandError(f"the server does not answer: {error}") from None
            time.sleep(0.5)
