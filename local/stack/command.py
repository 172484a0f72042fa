"""``make stack`` writes the platform's stack for a Docker Swarm; ``make stack-up`` has the Swarm run it."""

import json
import shutil
from pathlib import Path
from typing import Any

from local.console import Console
from local.containers.engine import Project
from local.containers.images import config_of, provide_images
from local.errors import CommandError
from local.install.packages import further_locks, own_certificate
from local.processes.preparation import check_login
from local.settings.platform import ROOT, Settings
from local.settings.scale import OVERLAY as SCALED
from local.settings.scale import check_scale, compose_files, file_variables
from local.stack.progress import await_services
from local.stack.render import StackContext, labels_of, stack_of
from local.stack.secrets import create_secrets, first_names, forget_superseded
from local.stack.settings import LEFT_OUT
from local.stack.swarm import docker, label_nodes, this_node

OVERLAY, SCALE_OVERLAY = "deploy/swarm.yaml", "deploy/swarm-scale.yaml"
FILE = ROOT / "build" / "stack.yaml"
JSON = dict[str, Any]


def write_stack(file: Path | None, settings: Settings, console: Console) -> None:
    """Write the stack as for a Swarm that has none of its secrets yet, and print what it leaves out.

    Raises:
        CommandError: The compose files, or a setting in them, cannot be rendered.
    """
    _check_docker()
    project = project_of(settings)
    model = config_of(project)
    context = StackContext(first_names(model, project.name), {})
    target = file or FILE
    _write(target, stack_of(model, context))
    for line in left_out(model):
        console.say(line)
    console.say(str(target))


def run_stack(settings: Settings, console: Console) -> None:
    """Have the Swarm run the stack of this checkout and ``.env``, and wait until every service is healthy.

    Raises:
        CommandError: This machine is not a manager of a Swarm, a setting cannot be used, or a service does
            not start.
    """
    _check_docker()
    node = this_node()
    further_locks(settings)
    own_certificate(settings)
    check_login(settings)
    check_scale(settings.values, ROOT, in_containers=True)
    project = project_of(settings)
    provide_images(project, settings, console)
    model = config_of(project)
    names = create_secrets(model, project.name, settings)
    images = {} if settings.registry else _ids(model)
    stack = stack_of(model, StackContext(names, images))
    _write(FILE, stack)
    for label in label_nodes(labels_of(stack), node):
        console.step(f"label        {label} on this node")
    resolve = "always" if settings.registry else "never"
    console.step(f"stack        {project.name}, from {FILE.relative_to(ROOT)}")
    options = ("--prune", "--with-registry-auth", f"--resolve-image={resolve}", f"--compose-file={FILE}")
    docker("stack", "deploy", *options, project.name)
    await_services(project.name, set(stack["services"]), console)
    forget_superseded(project.name, names)
    published = any(stack["services"].get(name, {}).get("ports") for name in ("server", "proxy"))
    where = (
        f"{settings.ui_url}/deployments"
        if published
        else "not published: PREFECT_BIND_ADDRESS is a loopback one"
    )
    console.say(f"UI  {where}")


def left_out(model: JSON) -> list[str]:
    """Return a line for each setting without a counterpart on a Swarm: its services, and what replaces it."""
    lines: list[str] = []
    for setting, instead in LEFT_OUT.items():
        services = sorted(name for name, service in model["services"].items() if service.get(setting))
        if services:
            lines.append(f"left out: {setting} of {', '.join(services)}; in its place: {instead}")
    return lines


def project_of(settings: Settings) -> Project:
    """Return the compose project with the Swarm's overlays, placed so that others can override them."""
    files = [name for name in compose_files(settings.values, ROOT) if name not in {OVERLAY, SCALE_OVERLAY}]
    if SCALED in files:
        files.insert(files.index(SCALED) + 1, SCALE_OVERLAY)
    return Project(settings, file_variables([files[0], OVERLAY, *files[1:]]))


def _check_docker() -> None:
    if not shutil.which("docker"):
        raise CommandError("docker is missing; it is what a Swarm is made of: docs/swarm.md")


def _write(target: Path, stack: JSON) -> None:
    """Write the stack as Docker itself prints it, so that Docker refuses it here if it is not valid."""
    text = docker("stack", "config", "--skip-interpolation", "--compose-file=-", content=json.dumps(stack))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f"# Written by `make stack` from the compose files and .env.\n{text}", encoding="utf-8")


def _ids(model: JSON) -> dict[str, str]:
    names = sorted({service["image"] for service in model["services"].values()})
    return {name: docker("image", "inspect", "--format", "{{.Id}}", name).strip() for name in names}
