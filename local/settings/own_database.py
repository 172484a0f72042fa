"""Checks the settings for keeping Prefect's data in the user's own Postgres."""

from local.errors import CommandError
from local.settings.platform import Settings

OVERLAY = "deploy/own-database.yaml"
HOST = "PREFECT_SERVER_DATABASE_HOST"
_URLS = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def check_own_database(settings: Settings, *, in_containers: bool) -> None:
    """Refuse settings for another database that the platform would ignore.

    Raises:
        CommandError: The connection URL is set, or only half of what the user's own database needs.
    """
    for name in _URLS:
        if settings.get(name):
            raise CommandError(
                f"{name} is not supported; for your own Postgres set {HOST} and what else "
                "docs/own-database.md says"
            )
    host = settings.get(HOST)
    if settings.has_overlay(OVERLAY) and not host:
        raise CommandError(f"COMPOSE_FILE has {OVERLAY}, and .env has no {HOST}; set it there")
    if host and not in_containers:
        raise CommandError(
            f"{HOST} is set, and local processes keep Prefect's data in SQLite; start Docker, or remove it"
        )
    if host and not settings.has_overlay(OVERLAY):
        raise CommandError(f".env has {HOST}, and no COMPOSE_FILE=docker-compose.yaml:{OVERLAY}; set it too")
