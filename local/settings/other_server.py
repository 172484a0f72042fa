"""Checks the settings for another Prefect server in place of the platform's own."""

from local.errors import CommandError
from local.settings.platform import Settings

OVERLAY = "deploy/other-server.yaml"


def check_other_server(settings: Settings, *, in_containers: bool) -> None:
    """Refuse an incomplete set-up, with which the platform would talk to the wrong server.

    Raises:
        CommandError: The overlay is set without the address or, in containers, the address without it.
    """
    is_there = settings.has_overlay(OVERLAY)
    if is_there and not settings.other_server:
        raise CommandError(
            f"COMPOSE_FILE has {OVERLAY}, and .env has no PREFECT_API_URL; set it there to the other "
            f"server's API, or leave the file out for the platform's own server"
        )
    if settings.other_server and in_containers and not is_there:
        raise CommandError(
            f".env has PREFECT_API_URL, and no COMPOSE_FILE=docker-compose.yaml:{OVERLAY}; set it there too, "
            f"or remove PREFECT_API_URL for the platform's own server"
        )
