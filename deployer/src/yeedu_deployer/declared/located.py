"""YAML with line numbers: every value knows the line that a person would have to edit."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from yeedu_deployer.errors import SpecError

MERGE_TAG = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Scalar:
    """A text, number, boolean or null."""

    value: str | int | float | bool | None
    line: int


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple["Node", ...]
    line: int


@dataclass(frozen=True)
class Mapping:
    """A mapping; merge keys (`<<`) are already merged in, explicit keys win."""

    entries: dict[str, "Entry"]
    line: int


@dataclass(frozen=True)
class Entry:
    """One key of a mapping with the line of the key itself."""

    line: int
    value: "Node"


type_names = {str: "a text", bool: "true or false", int: "a number", float: "a number"}
Node = Scalar | Items | Mapping


@dataclass
class Problems:
    """Collects what is wrong with one file, so that all of it is told at once."""

    path: str
    found: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def add(self, line: int, message: str) -> None:
        """Remember one problem; the same one is told once however often an anchor is used."""
        if (line, message) not in self.found:
            self.found.append((line, message))

    def raise_if_any(self) -> None:
        """Raise `SpecError` with every problem in the order of the file's lines."""
        if self.found:
            raise SpecError([f"{self.path}:{line}: {message}" for line, message in sorted(self.found)])


def describe(node: Node) -> str:
    """Name a value's kind as a person would, for "but it is …"."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Items):
        return "a list"
    return "empty" if node.value is None else type_names[type(node.value)]


def load(path: Path, shown_path: str) -> Mapping:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: The file to read.
        shown_path: How messages name the file.

    Raises:
        SpecError: The file is missing, is not YAML, repeats a key, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError([f"{shown_path}:1: there is no such file; name it with --file."]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([f"{shown_path}:1: the file cannot be read: {error}."]) from None
    problems = Problems(shown_path)
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        node = _Converter(loader, problems).convert(root) if root is not None else Scalar(None, 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add(
            mark.line + 1 if mark else 1, f"this is not valid YAML: {error.problem or error.context}."
        )
        node = Scalar(None, 1)
    except yaml.YAMLError as error:
        problems.add(1, f"this is not valid YAML: {' '.join(str(error).split())}.")
        node = Scalar(None, 1)
    finally:
        loader.dispose()
    problems.raise_if_any()
    if not isinstance(node, Mapping):
        raise SpecError(
            [f"{shown_path}:{node.line}: the file must be a mapping, but it is {describe(node)}."]
        )
    return node


class _Converter:
    """Turns PyYAML's node graph into ours; an alias keeps the line of its anchor."""

    def __init__(self, loader: yaml.SafeLoader, problems: Problems) -> None:
        self._loader = loader
        self._problems = problems
        self._open: set[int] = set()

    def convert(self, node: yaml.Node) -> Node:
        line = node.start_mark.line + 1
        if id(node) in self._open:
            self._problems.add(line, "an anchor contains itself.")
            return Scalar(None, line)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, line)
            if isinstance(node, yaml.SequenceNode):
                return Items(tuple(self.convert(child) for child in node.value), line)
            return self._scalar(node, line)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.Node, line: int) -> Scalar:
        # PyYAML's constructors are untyped; what a scalar can become is checked right here.
        value = cast("Any", self._loader).construct_object(node)
        if isinstance(value, dt.date):
            return Scalar(value.isoformat(), line)
        if value is None or isinstance(value, str | bool | int | float):
            return Scalar(value, line)
        self._problems.add(line, f"a value of the kind {node.tag!r} is not supported; write it as a text.")
        return Scalar(None, line)

    def _mapping(self, node: yaml.MappingNode, line: int) -> Mapping:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if key_node.tag == MERGE_TAG:
                for source in self._merge_sources(value_node):
                    merged = {**source.entries, **merged}
                continue
            key = self.convert(key_node)
            if not isinstance(key, Scalar) or not isinstance(key.value, str):
                self._problems.add(key_line, f"a key must be a text, but this one is {describe(key)}.")
            elif key.value in own:
                self._problems.add(key_line, f"{key.value!r} is given twice in one mapping.")
            else:
                own[key.value] = Entry(key_line, self.convert(value_node))
        return Mapping({**merged, **own}, line)

    def _merge_sources(self, node: yaml.Node) -> Iterator[Mapping]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            converted = self.convert(source)
            if isinstance(converted, Mapping):
                yield converted
            else:
                self._problems.add(
                    converted.line, f"'<<' takes a mapping, but this is {describe(converted)}."
                )
