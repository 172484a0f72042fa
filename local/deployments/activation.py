"""``make activate-windows``: activates a deployment's schedules, provided that a worker polls its pool."""

from typing import Any
from urllib.parse import quote

from local.api import ApiUnavailableError, PrefectApi
from local.console import Console
from local.errors import CommandError

WINDOWS_DEPLOYMENT = "create-file-on-windows"


def activate(api: PrefectApi, name: str, console: Console) -> None:
    """Activate a deployment's schedules; `deployer apply` keeps them active, like a change in the UI.

    Args:
        api: The server.
        name: The deployment's name.
        console: Where the result is shown.

    Raises:
        CommandError: There is no such deployment, no worker polls its pool, or the server does not answer.
    """
    try:
        _activate(api, name, console)
    except ApiUnavailableError as error:
        raise CommandError(f"{error}; is the platform running? check `make status`") from None


def _activate(api: PrefectApi, name: str, console: Console) -> None:
    found: list[dict[str, Any]] = api.post("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
    if not found:
        raise CommandError(f"there is no deployment {name}; `make deploy` registers it")
    for deployment in found:
        pool: str = deployment["work_pool_name"]
        workers: list[dict[str, Any]] = api.post(f"/work_pools/{quote(pool, safe='')}/workers/filter", {})
        online = [worker["name"] for worker in workers if worker["status"] == "ONLINE"]
        if not online:
            raise CommandError(
                f"no worker polls {pool}, so runs of {name} would only be late; attach one: docs/workers.md"
            )
        for schedule in deployment["schedules"]:
            if not schedule["active"]:
                api.patch(f"/deployments/{deployment['id']}/schedules/{schedule['id']}", {"active": True})
        paused = "; the deployment itself is paused: resume it in the UI" if deployment["paused"] else ""
        console.say(f"{name}: its schedules are on, for {', '.join(online)} of {pool}{paused}")
