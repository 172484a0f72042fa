"""``python3 -m local COMMAND``: runs one command; the Makefile calls it (see ``make help``)."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from local.api import PrefectApi
from local.backup.restore import opened
from local.bundle.build import make_bundle
from local.console import Console
from local.containers.compose_mode import ComposeMode
from local.containers.engine import PROJECT, Engine, find_engine
from local.containers.slots import check_slots
from local.deployments.activation import WINDOWS_DEPLOYMENT, activate
from local.deployments.new_flow import declaring_file, make_new_flow
from local.deployments.remote_platform import address, is_elsewhere, register
from local.destroy import destroy
from local.doctor.bundle import place_of
from local.doctor.run import doctor
from local.errors import CommandError
from local.install.packages import own_certificate
from local.install.virtual_environment import install, lock
from local.interrupts import raise_on_interrupts
from local.loopback import is_answering
from local.processes.process_mode import ProcessMode
from local.processes.services import Order, own_flows_url
from local.release.make_release import make_release
from local.settings.environments import EnvironmentSettings, settings_of
from local.settings.other_server import check_other_server
from local.settings.own_database import HOST as DATABASE_HOST
from local.settings.own_database import check_own_database
from local.settings.platform import ROOT, Settings
from local.settings.scale import changes_scale, check_scale, runs_scaled
from local.settings.tls import check_tls
from local.stack.command import run_stack, write_stack
from local.upgrade.command import (
    Wanted,
    check_no_upgrade_is_left,
    forget_restored,
    form_of_left,
    upgrade_platform,
)
from local.upgrade.forms import Containers

COMMANDS = (
    *("up", "down", "logs", "status", "drain", "plan", "deploy", "destroy", "install", "activate-windows"),
    *("backup", "restore", "upgrade", "lock", "new-flow", "release", "bundle", "doctor"),
    *("stack", "stack-up"),
)
OF_THE_DEPLOYER = {"deploy": "apply", "plan": "plan", "status": "status"}


def run(
    command: str,
    file: Path | None,
    order: Order,
    *,
    upgrade: bool = False,
    pythons: Sequence[str] = (),
    wanted: Wanted | None = None,
) -> int:
    """Run one command and return its exit code.

    Args:
        command: One of `COMMANDS`.
        file: The file that ``backup`` (default: a new one in ``backups/``), ``bundle`` and ``stack`` write,
            and ``restore`` reads; the name of a ``new-flow``, the version of a ``release``.
        order: What to ask of the deployer, for the commands that run it.
        upgrade: For ``lock``: whether to take new versions.
        pythons: For ``bundle``: the Python versions to include wheels for.
        wanted: The release that ``upgrade`` goes to.

    Raises:
        CommandError: The command failed; the message is for the user.
    """
    is_document = "--json" in order.options  # the JSON is then alone on standard output
    settings, console = Settings.read(), Console(sys.stderr if is_document else None)
    if command == "install":
        install(console, settings, for_development=True)
        return 0
    if command == "lock":
        return lock(console, settings, upgrade=upgrade)
    if command == "new-flow":
        push = bool(own_flows_url(settings))
        make_new_flow(ROOT, str(file or ""), declaring_file(settings), console, push=push)
        return 0
    if command == "release":
        make_release(str(file or ""), console)
        return 0
    if command == "bundle":
        console.say(str(make_bundle(file, pythons, console, settings)))
        return 0
    if command == "stack":
        write_stack(file, settings, console)
        return 0
    if command == "stack-up":
        run_stack(settings, console)
        return 0
    if command == "activate-windows":
        activate(PrefectApi.of(settings), WINDOWS_DEPLOYMENT, console)
        return 0
    if settings.other_server and command in {"backup", "restore"}:
        raise CommandError(f"runs, deployments and blocks are on {settings.other_server}; back them up there")
    if settings.get(DATABASE_HOST) and command in {"backup", "restore"}:
        raise CommandError(
            f"Prefect's data is in your Postgres at {settings.get(DATABASE_HOST)}; back it up there"
        )
    settings = _as_it_runs(settings)
    if command == "upgrade":
        return upgrade_platform(wanted or Wanted(), settings)
    if command in {"up", "deploy", "backup", "restore"}:
        check_no_upgrade_is_left(file if command == "restore" else None)
    if command == "restore":
        return _restore(file, console)
    if command in {"up", "plan", "deploy"}:
        own_certificate(settings)
    engine = find_engine()
    containers, processes = ComposeMode(settings, console), ProcessMode(settings, console)
    if command == "up":
        check_own_database(settings, in_containers=engine.is_usable)
        check_other_server(settings, in_containers=engine.is_usable)
        check_scale(settings.values, ROOT, in_containers=engine.is_usable)
        check_tls(settings, in_containers=engine.is_usable)
        if engine.is_usable and processes.is_up():
            raise CommandError("the platform already runs as local processes; stop it with `make down` first")
        if (
            engine.is_usable
            and containers.exists()
            and changes_scale(settings.values, ROOT, _project(settings))
        ):
            check_slots(PrefectApi.of(settings), console, insists=os.environ.get("YES") == "1")
        form = "in containers" if engine.is_usable else "as local processes"
        console.step(f"{engine.description}: starting the platform {form}")
        return containers.up() if engine.is_usable else processes.up()
    if command == "down":
        return _down(engine, containers, processes, console)
    if command == "destroy":
        destroy(_project(settings), containers if engine.is_usable else None, processes, console)
        return 0
    asks_server = command in OF_THE_DEPLOYER
    has_address = asks_server and bool(address(settings))
    if processes.is_up():
        mode = processes
    elif engine.is_usable and (containers.is_from_here() if has_address else containers.exists()):
        mode = containers
    elif has_address:  # no platform of this checkout runs here
        return register(_settings_of(order.environment, settings, console), console, order)
    else:
        there = "; for one on another machine, set PREFECT_API_URL to its API" if asks_server else ""
        raise CommandError(f"the platform is not running; `make up` starts it{there}")
    if command == "drain":
        mode.drain()
        return 0
    if command == "backup":
        mode.backup(file)
        return 0
    if command == "logs":
        return mode.logs()
    if is_elsewhere(settings):
        console.step("PREFECT_API_URL of your shell is left out: a platform of this checkout runs here")
    code = mode.status() if command == "status" else 0
    if command == "status":
        if not settings.other_server and not is_answering(f"{settings.api_url}/ready"):
            return code
        console.say()
    return mode.deploy(_settings_of(order.environment, settings, console), order) or code


def _project(settings: Settings) -> str:
    return settings.get("COMPOSE_PROJECT_NAME", PROJECT)


def _as_it_runs(settings: Settings) -> Settings:
    """Return the settings, with ``SCALE=1`` if several servers run and ``SCALE`` is not set.

    So `make up SCALE=1` applies to every command until `make down`; `SCALE=0` goes back to one server.
    """
    if settings.get("SCALE") or not runs_scaled(_project(settings)):
        return settings
    os.environ["SCALE"] = "1"  # for code that reads the settings itself
    return Settings({**settings.values, "SCALE": "1"})


def _down(engine: Engine, containers: ComposeMode, processes: ProcessMode, console: Console) -> int:
    """Stop the platform in either form."""
    was_running = False
    if processes.exists():
        was_running = True
        processes.down()
    if engine.is_usable and containers.exists():
        was_running = True
        containers.down()
    if not was_running:
        console.say("The platform is not running.")
    return 0


def _restore(file: Path | None, console: Console) -> int:
    """Replace the platform's data with a backup's, and restore its settings if there are none."""
    if file is None:
        raise CommandError("name the backup: make restore FILE=backups/NAME.tar")
    with opened(file, console) as backup:
        engine = find_engine()
        containers, processes = ComposeMode(backup.settings, console), ProcessMode(backup.settings, console)
        form = form_of_left(file)
        in_containers = form == Containers.name if form else engine.is_usable and not processes.is_up()
        mode = containers if in_containers else processes
        backup.check(mode.database)
        console.step(
            f"backup       of {backup.manifest.created}, Prefect {backup.manifest.prefect}: complete"
        )
        mode.restore(backup)
        forget_restored(file, backup.settings, console)
    return mode.up()


def _settings_of(environment: str, settings: Settings, console: Console) -> EnvironmentSettings:
    """Return an environment's settings, and say so when it has none of its own."""
    found = settings_of(environment, settings)
    if environment and not found.own:
        console.step(f"{environment}: .env.{environment} sets nothing, so the settings of .env apply")
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise CommandError(f"ONLY={text!r}: {error}; quote names that contain spaces") from None


def main() -> None:
    """Run the command that the command line names; report an error in one sentence, with exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python3 -m local", description="The commands of the host (`make help`)."
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        help="the backup to write or to restore, a new flow's name, or a version",
    )
    parser.add_argument("--environment", default="", help="one of environments.yaml")
    parser.add_argument("--only", default="", help="the deployments to select, separated by spaces")
    parser.add_argument("--version", default="", help="for upgrade: the release (default: the newest)")
    parser.add_argument(
        "--from", dest="source", type=Path, help="for upgrade: a checkout that contains the release"
    )
    parser.add_argument("--dry-run", action="store_true", help="for upgrade: everything except the switch")
    parser.add_argument("--upgrade", action="store_true", help="for lock: upgrade to new versions")
    parser.add_argument("--pythons", default="", help="for bundle: the Python versions to include wheels for")
    parser.add_argument("--json", action="store_true", help="for doctor: print one JSON object")
    parser.add_argument(
        "--bundle", nargs="?", const="", help="for doctor: write an archive for support (default: in build/)"
    )
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, others = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    command: str = options.command
    if others and command not in OF_THE_DEPLOYER:
        parser.error(f"what follows -- is for the deployer, not for {command}")
    raise_on_interrupts()
    try:
        if command == "doctor":  # it works even if the settings cannot be read
            bundle = None if options.bundle is None else Path(options.bundle or place_of(ROOT))
            sys.exit(doctor(as_json=options.json, bundle=bundle))
        order = Order(OF_THE_DEPLOYER.get(command, ""), options.environment, _words(options.only), others)
        pythons = options.pythons.split()
        wanted = Wanted(options.version, options.source, options.dry_run)
        sys.exit(run(command, options.file, order, upgrade=options.upgrade, pythons=pythons, wanted=wanted))
    except CommandError as error:
        Console(sys.stderr).say(f"make {command}: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
