"""Tries this release next to a running platform, on a copy of that platform's database.

The server of the trial serves only its API: no scheduler, no detection of late runs and no automations act on
the copy. No worker is started, and no port is published.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from local.backup.backups import of_processes
from local.backup.restore import opened
from local.console import Console
from local.containers.compose_mode import ComposeMode
from local.containers.engine import Project, last_lines
from local.containers.images import config_of
from local.errors import CommandError
from local.install.virtual_environment import PROGRAMS, install
from local.loopback import is_answering
from local.processes.child_environment import child_environment
from local.processes.preparation import check_machine, prepare_flows, prepare_secrets
from local.processes.process_tree import TOKEN_VARIABLE, await_end, send, tree_of
from local.processes.services import STATE, Order, deployer, own_flows_url, own_warehouse_url, server
from local.settings.platform import ROOT, Settings
from local.settings.scale import compose_files, file_variables
from local.upgrade.overlays import check_apart, check_images

# Prefect's own setting for a server without services, and the platform's for one without any next to it.
ALONE = {"PREFECT__SERVER_WEBSERVER_ONLY": "1", "SERVER_ON_TRIAL": "1"}
_START_SECONDS = 300.0
OVERLAY = f"""\
services:
  server:
    ports: !reset []
    environment: {json.dumps(ALONE)}
  yeedu-mock:
    ports: !reset []
"""
_PLAN = Order("plan")


def try_in_containers(settings: Settings, backup_file: Path, plan: Path, console: Console) -> None:
    """Try this release as a compose project of its own, and remove that afterwards.

    Raises:
        CommandError: It cannot replace the release that made the backup.
    """
    overlay = STATE / "trial.yaml"
    overlay.parent.mkdir(exist_ok=True)
    overlay.write_text(OVERLAY, encoding="utf-8")
    files = file_variables([*compose_files(settings.values, ROOT), str(overlay)])
    os.environ.update(files)
    settings = Settings({**settings.values, **files})
    mode, project = ComposeMode(settings, console), Project(settings)
    check_apart(config_of(project, "--profile", "*"), project.name)
    check_images(config_of(project), settings)
    try:
        with opened(backup_file, console) as backup:
            backup.check(mode.database)
            mode.restore(backup)  # builds or pulls the images first
        if project.run(
            *("--progress", "quiet", "up", "--detach", "--no-build", "--wait", "server", "git-server")
        ):
            for container in project.containers():
                if container.has_failed:
                    console.say(last_lines(container))
                    raise CommandError(f"on a copy of the database, {container.service}: {container}")
            raise CommandError("on a copy of the database, the server does not start")
        console.step("trial        the tables of the copy are up to date, and the server answers")
        with plan.open("w+", encoding="utf-8") as output:
            arguments = ("--progress", "quiet", "run", "--rm", "--no-deps", "--no-TTY", "deployer")
            planning = Project(settings, {"IMAGE_POLICY": "never"})  # else a build's output is in the plan
            _judge(planning.compose(*arguments, *_PLAN.arguments, output=output).wait(), plan, console)
    finally:
        project.run("--progress", "quiet", "--profile", "*", "down", "--volumes", "--remove-orphans")


def try_in_processes(settings: Settings, backup_file: Path, plan: Path, console: Console) -> None:
    """Try this release with an environment and a folder of its own, and end its server afterwards.

    Raises:
        CommandError: It cannot replace the release that made the backup.
    """
    check_machine()
    STATE.mkdir(exist_ok=True, mode=0o700)
    install(console, settings, for_development=False)
    prepare_secrets(settings)
    with opened(backup_file, console) as backup:
        backup.check("sqlite")
        of_processes(console).restore(backup.database, backup.key, lambda: None)
    service = server(settings)
    inherited = child_environment(os.environ, PROGRAMS)
    environment = {**inherited, **service.environment, **ALONE, "PREFECT_UI_ENABLED": "false"}
    token = {TOKEN_VARIABLE: os.urandom(16).hex()}
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            service.command, env={**environment, **token}, cwd=STATE, stdout=log, stderr=log
        )
        try:
            _await_ready(process, f"{settings.api_url}/ready", log, console)
            console.step("trial        the tables of the copy are up to date, and the server answers")
            flows_url = own_flows_url(settings) or prepare_flows(inherited)[0]
            asked = deployer(settings, flows_url, own_warehouse_url(settings), _PLAN)
            with plan.open("w", encoding="utf-8") as output:
                done = subprocess.run(
                    asked.command,
                    env={**inherited, **asked.environment},
                    cwd=STATE,
                    stdout=output,
                    stderr=output,
                    check=False,
                )
            _judge(done.returncode, plan, console)
        finally:
            process.terminate()
            left = tree_of(process.pid, token[TOKEN_VARIABLE])
            await_end(left, 10)
            send(left, signal.SIGKILL)
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], url: str, log: IO[str], console: Console) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_answering(url):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            console.say("\n".join(log.read().splitlines()[-15:]))
            raise CommandError(
                "on a copy of the database, the server does not start; its last lines are above"
            )
        time.sleep(0.2)


def _judge(code: int, plan: Path, console: Console) -> None:
    """Check that a plan could be made; the old release compares its contents with its own plan.

    Raises:
        CommandError: There is no plan.
    """
    lines = plan.read_text(encoding="utf-8", errors="replace").splitlines()
    count = sum(line.startswith("deployment: ") for line in lines)
    if code not in {0, 2} and not count:
        raise CommandError(
            f"the deployer cannot plan: {lines[-1] if lines else f'it ended with code {code}'}"
        )
    console.step(f"trial        the deployer can plan {count} deployments and has imported their flows")
