"""Converts arguments and Spark settings from the forms that users may give into the text that Yeedu takes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, cast

# A program's arguments: one text, a list of words, or options by name.
Arguments = str | list[str] | dict[str, Any]
Conf = list[str] | dict[str, Any]


def argument_text(arguments: Arguments | None) -> str | None:
    """Return arguments as the single text that Yeedu takes, quoted as for a shell.

    An entry of a map becomes `--name value`: True becomes `--name` alone, False and None are left out, and a
    list repeats the name.
    """
    if arguments is None or isinstance(arguments, str):
        return arguments
    if not isinstance(arguments, dict):
        return shlex.join(arguments)
    words: list[str] = []
    for name, value in arguments.items():
        flag = name if name.startswith("-") else f"--{name}"
        for one in cast("list[object]", value) if isinstance(value, list) else [value]:
            if one is True:
                words.append(flag)
            elif one is not None and one is not False:
                words += [flag, str(one)]
    return shlex.join(words)


def conf_entries(conf: object) -> list[str]:
    """Return Spark settings as a list of `key=value`, with booleans in lower case as Spark writes them."""
    if conf is None:
        return []
    if isinstance(conf, Mapping):
        pairs = cast("Mapping[str, object]", conf).items()
        return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in pairs]
    return [*cast("Sequence[str]", conf)]
