"""Reads ``NAME=value`` files as Docker Compose reads them: ``.env``, flows.env, what ``--env-file`` names.

It stands alone, since the commands of the host use it as well.
"""

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(
    r"(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:[=:][ \t]*|(?P<bare>$))", re.M
)
_QUOTED = {
    "'": re.compile(r"'(?P<value>(?:[^'\\]|\\[\s\S])*)'[ \t]*(?:#.*)?$", re.M),
    '"': re.compile(r'"(?P<value>(?:[^"\\]|\\[\s\S])*)"[ \t]*(?:#.*)?$', re.M),
}
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?[-+?])(?P<word>.*))?", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z_]\w*")
_ESCAPE = re.compile(r"\\(?P<character>[nrt\"\\$])")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "$": "$$"}


class DotenvError(ValueError):
    """A file cannot be read, or a line of it; its text is meant for people."""


def read_dotenv(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a file.

    Args:
        file: The file.
        environment: What ``$NAME`` in a value, and a line with a name alone, refer to before the file's own
            earlier lines.

    Raises:
        DotenvError: It cannot be read, or a line is not ``NAME=value``.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DotenvError(f"{file} cannot be read ({error}); make it readable, UTF-8 text") from None
    return parse_dotenv(text, environment, str(file))


def parse_dotenv(text: str, environment: Mapping[str, str], source: str = ".env") -> dict[str, str]:
    """Return the variables that a text sets; see `read_dotenv`.

    Raises:
        DotenvError: A line is not ``NAME=value``, a quote is not closed, or a needed variable is not set.
    """
    text = text.replace("\r\n", "\n")
    values: dict[str, str] = {}
    place = 0
    while place < len(text):
        end = text.find("\n", place) % (len(text) + 1)  # without a line feed: the text's end
        line = text[place:end].strip()
        number = text.count("\n", 0, place) + 1
        if not line or line.startswith("#"):
            place = end + 1
            continue
        place += len(text[place:end]) - len(text[place:end].lstrip())
        found = _NAME.match(text, place)
        if not found:
            raise DotenvError(f"{source}, line {number}: write NAME=value, or begin a comment with #")
        name = found["name"]
        try:
            if found["bare"] is None:
                values[name], end = _value(text, found.end(), end, {**values, **environment})
            elif name in environment:
                values[name] = environment[name]
        except ValueError as error:
            raise DotenvError(f"{source}, line {number}: {name}: {error}") from None
        place = end + 1
    return values


def _value(text: str, place: int, end: int, known: Mapping[str, str]) -> tuple[str, int]:
    """Return a value and where its line ends: literal in single quotes, with escapes in double ones."""
    quote = text[place : place + 1]
    if quote not in ("'", '"'):
        return expand(_COMMENT.sub("", text[place:end]).strip(), known), end
    quoted = _QUOTED[quote].match(text, place)
    if not quoted:
        raise ValueError(f"the value begins with {quote} and needs to end with it")
    if quote == "'":
        return quoted["value"].replace("\\'", "'"), quoted.end()
    return expand(_ESCAPE.sub(_unescaped, quoted["value"]), known), quoted.end()


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match["character"], match["character"])


def expand(value: str, known: Mapping[str, str]) -> str:
    """Replace ``$NAME``, ``${NAME}``, ``${NAME:-word}`` and the like; ``$$`` is a dollar sign.

    Raises:
        ValueError: A brace is not closed, or what ``${NAME:?}`` asks for is not set.
    """
    done, dollar, rest = value.partition("$")
    while dollar:
        if rest.startswith("$"):
            done, rest = f"{done}$", rest[1:]
        elif rest.startswith("{"):
            end = _closing(rest)
            done, rest = done + _variable(rest[1:end], known), rest[end + 1 :]
        elif plain := _PLAIN.match(rest):
            done, rest = done + known.get(plain[0], ""), rest[plain.end() :]
        else:
            done += "$"
        text, dollar, rest = rest.partition("$")
        done += text
    return done


def _closing(text: str) -> int:
    """Return where the brace is that closes the first one, with those of inner variables in between."""
    depth = 0
    for place, character in enumerate(text):
        if character == "{" and (not place or text[place - 1] == "$"):
            depth += 1
        elif character == "}":
            depth -= 1
            if not depth:
                return place
    raise ValueError("${ is not closed by }; a dollar sign is written $$, or in single quotes")


def _variable(inside: str, known: Mapping[str, str]) -> str:
    found = _VARIABLE.fullmatch(inside)
    if not found:
        raise ValueError("what is in ${ } is no name; a dollar sign is written $$, or in single quotes")
    current, operator, word = known.get(found["name"]), found["operator"] or "", found["word"] or ""
    is_set = bool(current) if operator.startswith(":") else current is not None
    if operator.endswith("+"):
        return expand(word, known) if is_set else ""
    if is_set or not operator:
        return current or ""
    if operator.endswith("?"):
        raise ValueError(f"{found['name']} is needed and not set{f': {word}' if word else ''}")
    return expand(word, known)
