"""Reads ``NAME=value`` files as Docker Compose reads them: ``.env``, flows.env, what ``--env-file`` names.

Standard library only, since `attach` and the host's commands use it as well.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:[=:][ \t]*|(?P<bare>$))")
_QUOTED = {
    "'": re.compile(r"'(?P<value>(?:[^'\\]|\\[\s\S])*)'[ \t]*(?:#.*)?$", re.M),
    '"': re.compile(r'"(?P<value>(?:[^"\\]|\\[\s\S])*)"[ \t]*(?:#.*)?$', re.M),
}
_COMMENT = re.compile(r" #.*")  # a password may begin with a #
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?[-+?])(?P<word>.*))?", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z_]\w*")
_ESCAPE = re.compile(r"\\(?P<character>[abfnrtv\"\\$])")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}


class DotenvError(ValueError):
    """A file, or a line of it, cannot be read; the message is for people."""


def read_dotenv(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a file.

    Args:
        file: The file.
        environment: Where ``$NAME`` in a value is looked up before the file's earlier lines, and where a line
            with only a name gets its value.

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
    values: dict[str, str] = {}
    for line in lines_of(text, source):
        known = {**values, **environment}
        try:
            if line.value is None:
                values |= {line.name: environment[line.name]} if line.name in environment else {}
            else:
                values[line.name] = expand(line.value, known) if line.expands else line.value
        except ValueError as error:
            raise DotenvError(f"{source}, line {line.number}: {line.name}: {error}") from None
    return values


@dataclass(frozen=True)
class Line:
    """What one line sets, before variables in it are expanded.

    Attributes:
        number: The line's, from 1; for a quoted value of several lines, that of the first.
        name: The variable.
        value: Its value; None for a line with only a name.
        expands: Whether variables in the value are expanded.
    """

    number: int
    name: str
    value: str | None
    expands: bool = True


def lines_of(text: str, source: str) -> Iterator[Line]:
    """Yield what each line sets; comments and empty lines set nothing.

    Raises:
        DotenvError: A line is not ``NAME=value``, or a quote is not closed.
    """
    rest, number = text.replace("\r\n", "\n"), 1
    while rest:
        stripped = rest.lstrip(" \t")
        line, _, others = stripped.partition("\n")
        found = _NAME.match(line)
        if not line.strip() or line.startswith("#"):
            rest, number = others, number + 1
            continue
        if not found:
            raise DotenvError(f"{source}, line {number}: write NAME=value, or begin a comment with #")
        if found["bare"] is not None:
            yield Line(number, found["name"], None)
            rest, number = others, number + 1
            continue
        value = stripped[found.end() :]
        quoted = _QUOTED[value[0]].match(value) if value[:1] in _QUOTED else None
        if value[:1] in _QUOTED and not quoted:
            open_quote = f"the value begins with {value[0]} and needs to end with it"
            raise DotenvError(f"{source}, line {number}: {found['name']}: {open_quote}")
        if not quoted:
            yield Line(number, found["name"], _COMMENT.sub("", line[found.end() :]).strip())
        elif value[0] == "'":
            yield Line(number, found["name"], quoted["value"].replace("\\'", "'"), expands=False)
        else:
            yield Line(number, found["name"], _ESCAPE.sub(_unescaped, quoted["value"]))
        taken = quoted[0] if quoted else ""
        rest, number = value[len(taken) :].partition("\n")[2], number + 1 + taken.count("\n")


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
    """Return the position of the brace that closes the first one, past those of nested variables."""
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
