"""Stops the services that use Prefect's database, and finds running ones that only a profile starts."""

from collections.abc import Sequence
from typing import Any

from local.console import Console
from local.containers.engine import Project
from local.containers.images import config_of
from local.settings.platform import Settings

# In the order of stopping: workers first, since they hand their flow runs over.
USERS = (
    *("worker", "image-worker", "dask-worker", "rescue", "yeedu-watch", "backup", "deployer"),
    *("services", "server", "migrate"),
)


def stop_users(project: Project, console: Console) -> None:
    """Stop the services that use the database, with their own grace periods, whatever files define them.

    Raises:
        CommandError: A service did not stop.
    """
    there = {one.service for one in project.containers() if one.is_on}
    for service in USERS:
        if service in there and project.stop(service):
            console.step(f"{service:<12} stopped")


def profiles_that_run(project: Project, settings: Settings) -> tuple[str, ...]:
    """Return the profiles of running services that Compose would not start by itself.

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
    """Return the variables that make Compose start `profiles` in addition to those of the settings."""
    named = [one.strip() for one in settings.get("COMPOSE_PROFILES").split(",")]
    return {"COMPOSE_PROFILES": ",".join(filter(None, [*named, *profiles]))} if profiles else {}
