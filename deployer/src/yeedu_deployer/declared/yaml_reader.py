"""Reads a YAML file into marked data, with PyYAML's rules (YAML 1.1), which `prefect deploy` follows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic_core import to_jsonable_python

from yeedu_deployer.declared.yaml_marks import Items, Mapping, Plain, Problems, describe, marked, value_of
from yeedu_deployer.errors import SpecError

MERGE_TAG = "tag:yaml.org,2002:merge"
COLLECTION_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
MAX_VALUES, MAX_LEVELS = 200_000, 100
# This many characters of a text count as one more value.
PART_OF_A_TEXT = 100
TOO_DEEP = "lists and mappings are nested too deeply to be read; write fewer levels."
YAML_HINTS = {
    "'\\t'": "use spaces instead",
    "alias": "write what it stands for, or give that the anchor above",
    "another document": "leave one, and no line '---' after it",
    "constructor": "remove the tag",
    "": "check quotes, colons and indentation up to here",
}
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


def load(path: Path, apart: str = "") -> Mapping:
    """Read a YAML file; raise `SpecError` unless it is valid and its top level is a mapping.

    `apart` is a key that holds a list: a mistake in one item affects only that item, and is kept in the
    list's `problems`.
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
        problems.add(1, TOO_DEEP)
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
        if isinstance(node, yaml.ScalarNode):
            self._count += len(node.value) // PART_OF_A_TEXT
        if self._count > MAX_VALUES:
            many = f"with all anchors put in, the file has more than {MAX_VALUES} values; use fewer."
            raise SpecError([f"{self._problems.path}:1: {many}"])
        if id(node) in self._open:
            self._problems.add(line, "an anchor contains itself; write out what is meant.")
        elif isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        elif len(self._open) >= MAX_LEVELS:
            self._problems.add(line, TOO_DEEP)
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
        spelling, shown = str(node.value), repr(str(node.value)[:60])
        try:
            # PyYAML's constructors are untyped; what a scalar can become is checked right here.
            value = to_jsonable_python(cast("Any", self._loader).construct_object(node))
        except (ValueError, ArithmeticError) as error:
            self._problems.add(line, f"{shown} cannot be read ({error}); put it in quotes.")
            return None
        if isinstance(value, float) and value - value != 0:
            self._problems.add(line, f"{shown} is a number that JSON does not have; put it in quotes.")
        if HALF_A_CHARACTER.search(spelling):
            self._problems.add(line, f"{shown} holds half a character; write the whole one.")
            return None
        # A text with its own tag, and a date, keep the spelling that they were written with.
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
