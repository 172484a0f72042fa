"""The end of ``make up``: waits for the first Yeedu run, and prints its result and the UI's address."""

from datetime import datetime

from local.api import FIRST_RUN_DEPLOYMENT, FlowRun, PrefectApi, await_first_run
from local.console import Console
from local.settings.platform import Settings

_FIRST_RUN_SECONDS = 600.0


def report_first_run(
    api: PrefectApi, settings: Settings, console: Console, worker_since: datetime | None = None
) -> int:
    """Wait for the first Yeedu run, print it and the UI's address, and return the exit code.

    Args:
        api: The server.
        settings: The address of the UI.
        console: Where the result is printed; it knows when `make up` began.
        worker_since: When the worker was started; ``None`` if none runs here.

    Raises:
        CommandError: The run did not end in time.
    """

    def report(run: FlowRun) -> None:
        name = " ".join(run.name.split())  # may be any text, a shell command for example
        console.step(f"{run.deployment:<22} {run.state_name:<10} {name[:60]}")

    console.step(f"waiting for the first run of {FIRST_RUN_DEPLOYMENT}")
    run = await_first_run(api, _FIRST_RUN_SECONDS, report)
    console.say()
    console.say(f"UI               {settings.ui_url}/deployments")
    if run is None:
        console.say(f"First Yeedu run  none: no active deployment is named {FIRST_RUN_DEPLOYMENT}")
        return 0
    # An earlier run was the work of a worker that may have had other settings.
    is_new = run.since >= max(console.began_at, worker_since or console.began_at)
    label = "First Yeedu run" if is_new else "Last Yeedu run "
    console.say(f"{label}  {run.state_name}  {settings.ui_url}/runs/flow-run/{run.id}")
    if run.state_type != "COMPLETED" and run.message:
        console.say(f"                 {run.message.strip().splitlines()[0]}")
    # How a run before this start ended says nothing about whether the platform came up.
    return 0 if run.state_type == "COMPLETED" or not is_new else 1
