"""``python -m local.upgrade STAGE``: what a release does for an upgrade to it, or for a rollback to it.

The old release runs these stages in the folder of either release, so the two stages, their options and
their exit codes must stay the same from release to release:

- ``start``: start the platform from this folder's files, and wait until all of it is healthy.
- ``trial BACKUP PLAN``: next to a running platform, restore a backup, migrate its tables, start a server on
  them that does nothing by itself, and plan the deployments; the plan's output goes to PLAN.

Exit code 0: done. Any other: the last line says why. The end of the input means that the process that
started this one was killed; this one then ends too.
"""

import argparse
import sys
from pathlib import Path

from local.console import Console
from local.containers.compose_mode import ComposeMode
from local.containers.engine import find_engine
from local.errors import CommandError
from local.interrupts import raise_on_interrupts
from local.processes.process_mode import ProcessMode
from local.settings.platform import Settings
from local.upgrade.stages import end_with_the_starter
from local.upgrade.trial import try_in_containers, try_in_processes


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(
        prog="python3 -m local.upgrade", description="A stage of `make upgrade`."
    )
    stages = parser.add_subparsers(dest="stage", required=True)
    start, trial = stages.add_parser("start"), stages.add_parser("trial")
    for stage in (start, trial):
        stage.add_argument("--form", choices=("containers", "local processes"), required=True)
    trial.add_argument("backup", type=Path)
    trial.add_argument("plan", type=Path)
    options = parser.parse_args()
    raise_on_interrupts()
    end_with_the_starter()
    console = Console()
    try:
        in_containers = options.form == "containers"
        if in_containers:
            _check_engine()
        settings = Settings.read()
        if options.stage == "start":
            mode = ComposeMode(settings, console) if in_containers else ProcessMode(settings, console)
            sys.exit(mode.up(waits=False))
        try_one = try_in_containers if in_containers else try_in_processes
        try_one(settings, options.backup, options.plan, console)
    except CommandError as error:
        console.say(f"stage: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _check_engine() -> None:
    engine = find_engine()
    if not engine.is_usable:
        raise CommandError(engine.description)


if __name__ == "__main__":
    main()
