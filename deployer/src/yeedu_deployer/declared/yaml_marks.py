"""Marked data: values of a YAML file with the line of each part and the spelling of each scalar."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import JsonValue

from yeedu_deployer.errors import SpecError


class Plain(str):
    """A scalar that YAML does not read as a text: the text as written, for where a text is wanted.

    `value` is what YAML reads it as, in JSON: 1.10 and 12:30 are numbers, `yes` is true.
    """

    __slots__ = ("value",)
    value: JsonValue

    def __new__(cls, spelling: str, value: JsonValue) -> "Plain":
        """Keep the spelling as the text itself."""
        made = super().__new__(cls, spelling)
        made.value = value
        return made


class Mapping(dict[str, Any]):
    """A mapping with its own line and that of each key; merge keys (`<<`) are merged in, own keys win."""

    def __init__(self, entries: Iterable[tuple[str, Any, int]], line: int) -> None:
        self.line = line
        self.lines: dict[str, int] = {}
        for key, value, key_line in entries:
            self[key], self.lines[key] = value, key_line

    def entries(self) -> Iterator[tuple[str, Any, int]]:
        """Yield each key, its value and its line."""
        return ((key, value, self.lines[key]) for key, value in self.items())

    def mapped(self, change: Callable[[str, Any, int], Any]) -> "Mapping":
        """Return a copy with changed values; `change` gets key, value and line."""
        return Mapping(
            ((key, change(key, value, line), line) for key, value, line in self.entries()), self.line
        )

    def without(self, keys: Iterable[str]) -> "Mapping":
        """Return a copy without some keys."""
        left_out = set(keys)
        return Mapping((entry for entry in self.entries() if entry[0] not in left_out), self.line)


class Items(list[Any]):
    """A list with its own line and that of each item; `load` may keep the problems of each item in it."""

    def __init__(self, items: Iterable[Any], lines: Iterable[int], line: int) -> None:
        super().__init__(items)
        self.lines, self.line = list(lines), line
        self.problems: list[Problems] = []

    def mapped(self, change: Callable[[Any, int], Any]) -> "Items":
        """Return a copy with changed items; `change` gets an item and its line."""
        return Items(map(change, self, self.lines), self.lines, self.line)


@dataclass
class Problems:
    """Collects what is wrong with one file, to report all of it at once."""

    path: str
    found: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def add(self, line: int, message: str) -> None:
        """Record one problem, once however often its anchor is used."""
        if (line, message) not in self.found:
            self.found.append((line, message))

    def error(self) -> SpecError:
        """Return an error with every problem, in the order of the file's lines."""
        return SpecError([f"{self.path}:{line}: {message}" for line, message in sorted(self.found)])

    def raise_if_any(self) -> None:
        """Raise `SpecError` if there is any problem."""
        if self.found:
            raise self.error()


def value_of(node: Any) -> Any:
    """Turn marked data into the plain values that YAML reads."""
    if isinstance(node, dict):
        return {key: value_of(value) for key, value in cast("dict[str, Any]", node).items()}
    if isinstance(node, list):
        return [value_of(item) for item in cast("list[Any]", node)]
    return node.value if isinstance(node, Plain) else node


def marked(value: JsonValue, line: int) -> Any:
    """Turn a plain value into marked data, all of it on one line of the file."""
    if isinstance(value, dict):
        return Mapping(((key, marked(one, line), line) for key, one in value.items()), line)
    if isinstance(value, list):
        return Items((marked(one, line) for one in value), [line] * len(value), line)
    if value is None or isinstance(value, str):
        return value
    return Plain(str(value).lower() if isinstance(value, bool) else str(value), value)


def describe(node: Any) -> str:
    """Name a value as a person would, for "but it is …"."""
    if isinstance(node, dict):
        return "a mapping"
    if isinstance(node, list):
        return "a list"
    if node is None:
        return "empty"
    text = str(node).lower() if isinstance(node, bool) else str(node)
    return repr(text[:60]) if isinstance(node, str) and not isinstance(node, Plain) else text[:60]


def child(node: Any, part: int | str) -> tuple[Any, int] | None:
    """Return a part of marked data and its line, or None if there is no such part."""
    if isinstance(node, Mapping) and part in node:
        return node[str(part)], node.lines[str(part)]
    if isinstance(node, Items) and isinstance(part, int) and part < len(node):
        return node[part], node.lines[part]
    return None


def locate(root: Any, path: Sequence[int | str]) -> tuple[int, list[int | str], Any]:
    """Follow a path as far as it exists; return the line to report, the parts found, and the value there."""
    node, line, there = root, root.line if isinstance(root, Mapping | Items) else 1, list[int | str]()
    for part in path:
        if found := child(node, part):  # else: a name that pydantic gives to a member of a union
            node, line = found
            there.append(part)
    is_absent = bool(path) and path[-1] != (there[-1] if there else None)
    return (node.line if is_absent and isinstance(node, Mapping | Items) else line), there, node
