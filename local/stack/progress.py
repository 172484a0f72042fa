"""Waits until every service of a stack is healthy, or says which is not, and why."""

import json
import time
from typing import Any, cast

from local.console import Console
from local.errors import CommandError
from local.stack.swarm import docker, inspected

JSON = dict[str, Any]
_SECONDS = 600.0
_QUIET_SECONDS = 60.0  # after which it says what it waits for
_PAUSE_SECONDS = 1.0
_PAUSED = "paused"
_MAX_RESUMES = 3  # after a new login, for example, clients fail until the server, updated last, has it
_GIVEN_UP = {_PAUSED, "rollback_started", "rollback_paused", "rollback_completed"}
_UNDER_WAY = "updating"


def await_services(stack: str, names: set[str], console: Console) -> None:
    """Wait until each service runs all its tasks as currently described, and each job has succeeded.

    Args:
        stack: The stack's name.
        names: Its services.
        console: Gets a line for each service.

    Raises:
        CommandError: Ten minutes were not enough, or an update was given up.
    """
    waiting, began = set(names), time.monotonic()
    is_told = False
    resumed: list[str] = []
    while waiting:
        services = {one["Spec"]["Name"]: one for one in inspected("service", _ids(stack))}
        counts = _counts(stack)
        for name in sorted(waiting):
            service = services.get(f"{stack}_{name}")
            if service is None:
                continue
            state = _update_of(service)
            if state == _PAUSED and resumed.count(name) < _MAX_RESUMES:
                resumed.append(name)
                docker("service", "update", "--detach", f"{stack}_{name}")
                continue
            if state in _GIVEN_UP:
                raise CommandError(f"{name}: its update is {state}; {_reason(stack, name)}")
            if state == _UNDER_WAY or not is_whole(counts.get(f"{stack}_{name}", "")):
                continue
            waiting.discard(name)
            console.step(f"{name:<12} {counts[f'{stack}_{name}']}")
        passed = time.monotonic() - began
        if waiting and passed > _QUIET_SECONDS and not is_told:
            is_told = True
            for name in sorted(waiting):
                console.step(f"{name:<12} not yet: {_reason(stack, name)}")
        if waiting and passed > _SECONDS:
            name = min(waiting)
            raise CommandError(
                f"{', '.join(sorted(waiting))} did not start within {_SECONDS / 60:.0f} minutes; {name}: "
                f"{_reason(stack, name)}"
            )
        time.sleep(_PAUSE_SECONDS if waiting else 0)


def _update_of(service: JSON) -> str:
    """Return the state of a service's last update; empty if there was none."""
    status: JSON = service.get("UpdateStatus") or {}
    before: JSON = service.get("PreviousSpec") or {}
    is_job = "ReplicatedJob" in service["Spec"]["Mode"]
    if (
        before
        and not status
        and not is_job
        and _differs(before["TaskTemplate"], service["Spec"]["TaskTemplate"])
    ):
        return _UNDER_WAY  # though not begun
    return status.get("State", "")


def _differs(before: Any, after: Any) -> bool:
    """Tell whether two descriptions differ; Docker fills defaults only into the second one."""
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("JSON", before), cast("JSON", after)
        return any(_differs(value, new.get(key)) for key, value in old.items())
    return before is not None and before != after


def is_whole(replicas: str) -> bool:
    """Tell whether all tasks run (``2/2``), or have completed (``(1/1 completed)``)."""
    counted = (
        replicas.partition("(")[2].partition(" ")[0]
        if "completed" in replicas
        else replicas.partition(" ")[0]
    )
    running, _, wanted = counted.partition("/")
    return bool(wanted) and running == wanted


def _ids(stack: str) -> list[str]:
    return docker("stack", "services", "--quiet", stack).split()


def _counts(stack: str) -> dict[str, str]:
    lines = docker("stack", "services", "--format", "{{json .}}", stack).splitlines()
    return {one["Name"]: one["Replicas"] for one in map(json.loads, lines)}


def _reason(stack: str, name: str) -> str:
    """Return why a service's last task did not run, and where to look."""
    lines = docker("service", "ps", "--no-trunc", "--format", "{{json .}}", f"{stack}_{name}").splitlines()
    tasks: list[JSON] = list(map(json.loads, lines))
    told = next((task["Error"].strip('"') for task in tasks if task["Error"]), "")
    where = f"docker service ps --no-trunc {stack}_{name}, docker service logs {stack}_{name}"
    return f"{told}: {where}" if told else where
