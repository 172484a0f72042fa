"""Reads a ``.env`` file as Docker Compose reads it, so that a knob means the same with and without Docker."""

import re
from collections.abc import Mapping
from pathlib import Path

from local.errors import CommandError

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*(?P<rest>.*)", re.DOTALL)
_SINGLE_QUOTED = re.compile(r"'(?P<value>(?:[^'\\]|\\.)*)'\s*(?:#.*)?")
_DOUBLE_QUOTED = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_COMMENT = re.compile(r"(?:^|\s)#.*")
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?[-+])(?P<word>[^}]*))?\}|(?P<broken>\{))"
)
_ESCAPE = re.compile(r"\\(?P<character>[nrt\"\\$])")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "$": "$$"}


def read_dotenv(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a ``.env`` file; of no file, none.

    Args:
        file: The file; it may be missing.
        environment: What ``$NAME`` in a value refers to, before the file's own earlier lines.

    Raises:
        CommandError: The file cannot be read, or a line is not ``NAME=value``.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read ({error}); make it readable, UTF-8 text") from None
    return parse_dotenv(text, environment, str(file))


def parse_dotenv(text: str, environment: Mapping[str, str], source: str = ".env") -> dict[str, str]:
    """Return the variables that the text of a ``.env`` file sets.

    Raises:
        CommandError: A line is not ``NAME=value``, or a quote is not closed.
    """
    values: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#") or re.fullmatch(r"(export\s+)?[A-Za-z_]\w*", line):
            continue  # a bare NAME takes the environment's value, and the environment wins anyway
        match = _LINE.fullmatch(line)
        if not match:
            raise CommandError(f"{source}, line {number}: write NAME=value, or begin a comment with #")
        try:
            values[match["name"]] = _value(match["rest"], {**values, **environment})
        except ValueError as error:
            raise CommandError(f"{source}, line {number}: {match['name']}: {error}") from None
    return values


def _value(rest: str, known: Mapping[str, str]) -> str:
    """Return one line's value: literal in single quotes, with escapes in double ones, else up to `` #``."""
    for quote, pattern in (("'", _SINGLE_QUOTED), ('"', _DOUBLE_QUOTED)):
        if rest.startswith(quote):
            quoted = pattern.fullmatch(rest)
            if not quoted:
                raise ValueError(f"the value begins with {quote} and needs to end with it, on the same line")
            if quote == "'":
                return quoted["value"].replace("\\'", "'")
            return _expand(_ESCAPE.sub(_unescaped, quoted["value"]), known)
    return _expand(_COMMENT.sub("", rest).strip(), known)


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match["character"], match["character"])


def _expand(value: str, known: Mapping[str, str]) -> str:
    """Replace ``$NAME``, ``${NAME}``, ``${NAME:-word}`` and the like; ``$$`` is a dollar sign."""

    def replacement(match: re.Match[str]) -> str:
        if match["broken"]:
            raise ValueError("${ is not closed by }; a dollar sign is written $$, or in single quotes")
        if match["dollar"]:
            return "$"
        current = known.get(match["plain"] or match["name"])
        operator = match["operator"] or ""
        is_set = bool(current) if operator.startswith(":") else current is not None
        if operator.endswith("-"):
            return (current or "") if is_set else match["word"]
        if operator.endswith("+"):
            return match["word"] if is_set else ""
        return current or ""

    return _VARIABLE.sub(replacement, value)
