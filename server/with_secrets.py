#!/usr/bin/env python3
"""Runs a command with the platform's secret files turned into Prefect settings.

Prefect reads no ``*_FILE`` variables. This launcher does: for each setting below, ``NAME_FILE`` names a file
whose content becomes ``NAME`` in the environment of the command, which replaces this process, so that signals
reach it. An empty file means that the setting is off; a missing one is an error.

Usage: with-secrets COMMAND [ARGUMENT ...]
"""

import os
import sys
from pathlib import Path

SECRET_SETTINGS = (
    "PREFECT_API_AUTH_STRING",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_DATABASE_PASSWORD",
    "PREFECT_SERVER_ENCRYPTION_KEY",
)


def environment_with_secrets(environment: dict[str, str]) -> dict[str, str]:
    """Return a copy of the environment in which every known ``NAME_FILE`` is replaced by its ``NAME``.

    Raises:
        OSError: A named file is missing or unreadable.
        ValueError: A file and a value are given for the same setting, or a file holds several lines.
    """
    result = dict(environment)
    for name in SECRET_SETTINGS:
        path = result.pop(f"{name}_FILE", "")
        if not path:
            continue
        if result.get(name):
            raise ValueError(f"{name} and {name}_FILE are both set; remove one of them")
        value = Path(path).read_text(encoding="utf-8").strip()
        if "\n" in value:
            raise ValueError(f"{name}_FILE: {path} holds more than one line; a secret is one line of text")
        if value:
            result[name] = value
        else:
            result.pop(name, None)
    return result


def main() -> None:
    """Replace this process by the command, or leave with one sentence."""
    command = sys.argv[1:]
    if not command:
        sys.exit("with-secrets: name the command to run")
    try:
        environment = environment_with_secrets(dict(os.environ))
        os.execvpe(command[0], command, environment)  # noqa: S606 - the command replaces this process
    except (OSError, ValueError) as error:
        sys.exit(f"with-secrets: {error}")


if __name__ == "__main__":
    main()
