"""Checks the settings for https on the platform's own server (``deploy/tls.yaml``)."""

import os
from urllib.parse import urlsplit

from local.errors import CommandError
from local.settings.platform import TLS_OVERLAY, Settings

MODES = ("acme", "internal", "files")
_ADDRESS = "PREFECT_UI_URL"
_FILES = ("TLS_CERT_FILE", "TLS_KEY_FILE")


def mode_of(settings: Settings) -> str:
    """Return where the certificate comes from, one of `MODES`.

    Raises:
        CommandError: It is none of them.
    """
    mode = settings.get("TLS_MODE", MODES[0])
    if mode not in MODES:
        raise CommandError(f"TLS_MODE={mode!r}: set it to acme, internal or files (docs/tls.md)")
    return mode


def check_tls(settings: Settings, *, in_containers: bool) -> None:
    """Refuse settings with which https would not work.

    Raises:
        CommandError: Something is missing or incompatible; the message says what.
    """
    if not settings.has_tls:
        if settings.get("TLS_MODE"):
            raise CommandError(
                f".env has TLS_MODE, and no COMPOSE_FILE=docker-compose.yaml:{TLS_OVERLAY}; set it too"
            )
        return
    if not in_containers:
        raise CommandError(
            f"COMPOSE_FILE has {TLS_OVERLAY}, and local processes serve http only; start Docker, or leave "
            "the file out and put a proxy of your own before them (docs/tls.md)"
        )
    if settings.other_server:
        raise CommandError(
            f"COMPOSE_FILE has {TLS_OVERLAY}, which is for the platform's own server, and .env has "
            "PREFECT_API_URL; remove one of them"
        )
    url = settings.get(_ADDRESS)
    if not url.startswith("https://") or not urlsplit(url).hostname:
        raise CommandError(
            f"COMPOSE_FILE has {TLS_OVERLAY}, and {_ADDRESS} is {url or 'not set'}; set it to https:// and "
            "the name that users type, as https://prefect.example.com"
        )
    if mode_of(settings) == "files":
        for name in _FILES:
            _check_file(settings, name)


def _check_file(settings: Settings, name: str) -> None:
    file = settings.path(name)
    if file is None or str(file) == os.devnull:
        raise CommandError(f"TLS_MODE=files needs {name}, the path of a PEM file; set it in .env")
    if not file.is_file():
        raise CommandError(f"{name}={file}: there is no such file")


def other_port(settings: Settings) -> str:
    """Return why links and redirects do not lead to the published port; empty if they do."""
    there, here = urlsplit(settings.ui_url).port or 443, settings.prefect_port
    if not settings.has_tls or there == here:
        return ""
    return (
        f"{_ADDRESS}={settings.ui_url} leads to port {there}, and https is published at PREFECT_PORT={here}"
    )
