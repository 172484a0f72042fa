"""Converts arguments and Spark settings from the forms that users may give to the text that Yeedu takes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, cast

# What a program is given: one text, its words, or its options by name.
Arguments = str | list[str] | dict[str, Any]
Conf = list[str] | dict[str, Any]


def argument_text(arguments: Arguments | None) -> str | None:
    """Return arguments as the one text that Yeedu takes, quoted as a shell would want it.

    A map's entries become `--name value`; True becomes `--name` alone, False and None become nothing, and a
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
    """Return Spark settings as Yeedu takes them, each `key=value`; Spark writes truth in small letters."""
    if conf is None:
        return []
    if isinstance(conf, Mapping):
        pairs = cast("Mapping[str, object]", conf).items()
        return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in pairs]
    return [*cast("Sequence[str]", conf)]
