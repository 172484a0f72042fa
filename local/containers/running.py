"""What of the platform uses Prefect's database, stopped in order; and what runs by its profile alone."""

from collections.abc import Sequence
from typing import Any

from local.console import Console
from local.containers.engine import Project
from local.containers.images import config_of
from local.settings.platform import Settings

# In the order in which they are stopped: workers first, which hand their flow runs over.
USERS = (
    *("worker", "image-worker", "dask-worker", "rescue", "yeedu-watch", "backup", "deployer"),
    *("services", "server", "migrate"),
)


def stop_users(project: Project, console: Console) -> None:
    """Stop what uses the database, each with its own time of grace, whatever files the project consists of.

    Raises:
        CommandError: One did not stop.
    """
    there = {one.service for one in project.containers() if one.is_on}
    for service in USERS:
        if service in there and project.stop(service):
            console.step(f"{service:<12} stopped")


def profiles_that_run(project: Project, settings: Settings) -> tuple[str, ...]:
    """Return the profiles of services that run, and that Compose would not start by itself.

    Raises:
        CommandError: Compose cannot read its files.
    """
    running = {one.service for one in project.containers() if one.status == "running"}
    own = {one.strip() for one in settings.get("COMPOSE_PROFILES").split(",")}
    services: dict[str, dict[str, Any]] = config_of(project, "--profile", "*")["services"]
    of_each = [services[name].get("profiles", []) for name in sorted(running & services.keys())]
    needed = (profiles[0] for profiles in of_each if profiles and not own & {"*", *profiles})
    return tuple(dict.fromkeys(needed))


def profile_variables(settings: Settings, profiles: Sequence[str]) -> dict[str, str]:
    """Return the variables with which Compose starts some profiles beside those of the settings."""
    named = [one.strip() for one in settings.get("COMPOSE_PROFILES").split(",")]
    return {"COMPOSE_PROFILES": ",".join(filter(None, [*named, *profiles]))} if profiles else {}
