"""YAML with marks: plain data that knows the line of everything, and how each scalar was spelled.

It is read as PyYAML reads it (YAML 1.1), since that is what `prefect deploy` does.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from yeedu_deployer.errors import SpecError

MERGE_TAG = "tag:yaml.org,2002:merge"
COLLECTION_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
MOST_VALUES = 200_000
YAML_HINTS = {
    "'\\t'": "use spaces instead",
    "alias": "write what it stands for, or give that the anchor above",
    "another document": "leave one, and no line '---' after it",
    "constructor": "remove the tag",
    "": "check quotes, colons and indentation up to here",
}
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


class Plain(str):
    """A scalar that YAML takes for no text: the text that was written, where a text is wanted.

    Attributes:
        value: What YAML takes it for, as JSON: 1.10 is a number, 12:30 too, `yes` is true.
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
        """The mapping with other values in the same places; `change` gets key, value and line."""
        return Mapping(
            ((key, change(key, value, line), line) for key, value, line in self.entries()), self.line
        )

    def without(self, keys: Iterable[str]) -> "Mapping":
        """The mapping apart from some keys."""
        left_out = set(keys)
        return Mapping((entry for entry in self.entries() if entry[0] not in left_out), self.line)


class Items(list[Any]):
    """A list with its own line and that of each item, and what is wrong with each where `load` says so."""

    def __init__(self, items: Iterable[Any], lines: Iterable[int], line: int) -> None:
        super().__init__(items)
        self.lines, self.line = list(lines), line
        self.problems: list[Problems] = []

    def mapped(self, change: Callable[[Any, int], Any]) -> "Items":
        """The list with other items in the same places; `change` gets an item and its line."""
        return Items(map(change, self, self.lines), self.lines, self.line)


@dataclass
class Problems:
    """Collects what is wrong with one file, so that all of it is told at once."""

    path: str
    found: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def add(self, line: int, message: str) -> None:
        """Remember one problem; the same one is told once however often an anchor is used."""
        if (line, message) not in self.found:
            self.found.append((line, message))

    def error(self) -> SpecError:
        """Every problem in the order of the file's lines."""
        return SpecError([f"{self.path}:{line}: {message}" for line, message in sorted(self.found)])

    def raise_if_any(self) -> None:
        """Raise `SpecError` where there is one."""
        if self.found:
            raise self.error()


def value_of(node: Any) -> Any:
    """Turn marked data into the plain values that YAML takes them for."""
    if isinstance(node, dict):
        return {key: value_of(value) for key, value in cast("dict[str, Any]", node).items()}
    if isinstance(node, list):
        return [value_of(item) for item in cast("list[Any]", node)]
    return node.value if isinstance(node, Plain) else node


def marked(value: JsonValue, line: int) -> Any:
    """Turn a plain value into marked data, all of it in one line of the file."""
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
    """Return a part of marked data and its line, or None where there is no such part."""
    if isinstance(node, Mapping) and part in node:
        return node[str(part)], node.lines[str(part)]
    if isinstance(node, Items) and isinstance(part, int) and part < len(node):
        return node[part], node.lines[part]
    return None


def locate(root: Any, path: Sequence[int | str]) -> tuple[int, list[int | str], Any]:
    """Follow a path through marked data as far as it goes.

    Returns:
        The line to name for it, the parts of the path that there are, and what is there.
    """
    node, line, there = root, root.line if isinstance(root, Mapping | Items) else 1, list[int | str]()
    for part in path:
        if found := child(node, part):  # else: a name that pydantic gives to a member of a union
            node, line = found
            there.append(part)
    is_absent = bool(path) and path[-1] != (there[-1] if there else None)
    return (node.line if is_absent and isinstance(node, Mapping | Items) else line), there, node


def load(path: Path, apart: str = "") -> Mapping:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: The file; messages show it as given.
        apart: A key of it with a list: what is wrong with an item stops only that one, and is kept in the
            list's `problems`.

    Raises:
        SpecError: The file is missing, is not YAML, repeats a key, or is not a mapping.
    """
    problems = Problems(str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecError([f"{path}:1: there is no such file; name it with --file."]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([f"{path}:1: the file cannot be read: {error}."]) from None
    node: Any = None
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        entries: list[tuple[yaml.Node, yaml.Node]]
        entries = root.value if isinstance(root, yaml.MappingNode) else []
        items = next((value for key, value in entries if key.value == apart), None)
        node = _Converter(loader, problems, items).convert(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = error.problem or error.context or ""
        advice = next((what for said, what in YAML_HINTS.items() if said in told), YAML_HINTS[""])
        reason = f"this is not valid YAML: {told.removeprefix('but ')}; {advice}."
        problems.add(mark.line + 1 if mark else 1, reason)
    except yaml.YAMLError as error:
        problems.add(1, f"this is not valid YAML: {' '.join(str(error).split())}; remove what is no text.")
    except RecursionError:
        problems.add(1, "lists and mappings are nested too deeply to be read; write fewer levels.")
    finally:
        if loader:
            loader.dispose()
    problems.raise_if_any()
    if not isinstance(node, Mapping):
        line = node.line if isinstance(node, Items) else 1
        raise SpecError([f"{path}:{line}: the file must be a mapping, but it is {describe(node)}."])
    return node


class _Converter:
    """Turns PyYAML's node graph into marked data; an alias keeps the lines of its anchor."""

    def __init__(self, loader: yaml.SafeLoader, problems: Problems, apart: yaml.Node | None) -> None:
        self._loader = loader
        self._problems = problems
        self._apart = apart
        self._open: set[int] = set()
        self._count = 0

    def convert(self, node: yaml.Node) -> Any:
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > MOST_VALUES:
            many = f"with all anchors put in, the file has more than {MOST_VALUES} values; use fewer."
            raise SpecError([f"{self._problems.path}:1: {many}"])
        if id(node) in self._open:
            self._problems.add(line, "an anchor contains itself; write out what is meant.")
        elif isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        elif node.tag not in COLLECTION_TAGS:
            self._problems.add(line, f"a value of the kind {node.tag!r} is not supported; remove the tag.")
        else:
            self._open.add(id(node))
            try:
                if isinstance(node, yaml.MappingNode):
                    return self._mapping(node, line)
                return self._items(node, line)
            finally:
                self._open.discard(id(node))
        return None

    def _items(self, node: yaml.Node, line: int) -> Items:
        outer, found = self._problems, Items([], [], line)
        for child in node.value:
            if node is self._apart:
                self._problems = Problems(outer.path)
                found.problems.append(self._problems)
            found.append(self.convert(child))
            found.lines.append(child.start_mark.line + 1)
        self._problems = outer
        return found

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Any:
        spelling = str(node.value)
        try:
            # PyYAML's constructors are untyped; what a scalar can become is checked right here.
            value = to_jsonable_python(cast("Any", self._loader).construct_object(node))
        except (ValueError, ArithmeticError) as error:
            self._problems.add(line, f"{spelling!r} cannot be read ({error}); put it in quotes.")
            return None
        if isinstance(value, float) and value - value != 0:
            self._problems.add(line, f"{spelling!r} is a number that JSON does not have; put it in quotes.")
        if HALF_A_CHARACTER.search(spelling):
            self._problems.add(line, f"{spelling!r} holds half a character; write the whole one.")
            return None
        # A text with a tag of its own, and a date, have the spelling that they were written with.
        is_text = value is None or (isinstance(value, str) and value == spelling)
        return value if is_text else Plain(spelling, value)

    def _mapping(self, node: yaml.MappingNode, line: int) -> Mapping:
        own = Mapping([], line)
        merged = Mapping([], line)
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if key_node.tag == MERGE_TAG:
                for source in self._merge_sources(value_node):
                    merged = Mapping([*source.entries(), *merged.entries()], line)
                continue
            key = self.convert(key_node)
            read_as = value_of(key)
            if not isinstance(key, str):
                self._problems.add(key_line, f"a key must be a text, but this one is {describe(key)}.")
            elif key != (read_as if isinstance(read_as, str) else marked(read_as, 0)):
                self._problems.add(
                    key_line, f"YAML takes the key {str(key)!r} for {read_as!r}; put it in quotes."
                )
            elif key in own:
                first = own.lines[str(key)]
                self._problems.add(
                    key_line, f"{str(key)!r} is given twice in one mapping, first in line {first}; leave one."
                )
            else:
                own[str(key)], own.lines[str(key)] = self.convert(value_node), key_line
        return Mapping([*merged.entries(), *own.entries()], line)

    def _merge_sources(self, node: yaml.Node) -> Iterator[Mapping]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            converted = self.convert(source)
            if isinstance(converted, Mapping):
                yield converted
            else:
                self._problems.add(
                    source.start_mark.line + 1,
                    f"'<<' takes a mapping, but this is {describe(converted)}; write a mapping's alias.",
                )
