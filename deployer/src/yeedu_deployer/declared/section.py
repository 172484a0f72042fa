"""Typed reading of one mapping of a YAML file, telling everything that is wrong with it."""

import difflib
from collections.abc import Iterable
from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from yeedu_deployer.declared.located import Entry, Items, Mapping, Node, Problems, Scalar, describe, load
from yeedu_deployer.declared.templating import UnsetVariableError, resolve, unset_variables


@dataclass
class Section:
    """One mapping of the file and how messages name it.

    Attributes:
        node: The mapping itself.
        where: Its name in messages, for example `deployment 'print-message'`.
        problems: Where everything that is wrong is collected; readers return a harmless value then.
        environment: The values for `{{ $NAME }}`.
    """

    node: Mapping
    where: str
    problems: Problems
    environment: EnvironmentMapping[str, str]

    @classmethod
    def of_file(cls, path: Path, environment: EnvironmentMapping[str, str]) -> Self:
        """Open a file's own mapping.

        Raises:
            SpecError: The file cannot be read, or is no mapping.
        """
        return cls(load(path, str(path)), "the file", Problems(str(path)), environment)

    def check_keys(self, known: Iterable[str], refused: EnvironmentMapping[str, str] | None = None) -> None:
        """Report keys that are not known, with the nearest known one, and those refused with a reason."""
        known = sorted(known)
        for key, entry in self.node.entries.items():
            if refused and key in refused:
                if not _is_empty(entry.value):
                    self.problems.add(entry.line, f"{self.where}: {key!r} {refused[key]}.")
            elif key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}."
                self.problems.add(entry.line, f"{self.where}: the key {key!r} is unknown; {hint}")

    def line_of(self, key: str) -> int:
        """The line to name for a key: its own, or the mapping's when it is absent."""
        entry = self.node.entries.get(key)
        return entry.line if entry else self.node.line

    def entry(self, key: str) -> Entry | None:
        """The key's entry, or None when it is absent or empty."""
        entry = self.node.entries.get(key)
        return None if entry is None or entry.value == Scalar(None, entry.value.line) else entry

    def text(self, key: str, *, required: bool = False) -> str | None:
        """Read a text; a number is taken as the text that it was written as."""
        entry = self.entry(key)
        if entry is None:
            if required:
                self.problems.add(self.line_of(key), f"{self.where}: {key!r} is missing.")
            return None
        if not isinstance(entry.value, Scalar) or isinstance(entry.value.value, bool):
            self._wrong_type(key, entry, "a text")
            return None
        value = self._resolved(str(entry.value.value), entry.value.line)
        if required and not value.strip():
            self.problems.add(entry.line, f"{self.where}: {key!r} is empty.")
        return value

    def boolean(self, key: str) -> bool | None:
        """Read true or false; a template must resolve to one of the two words."""
        entry = self.entry(key)
        if entry is None:
            return None
        value = entry.value.value if isinstance(entry.value, Scalar) else None
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(self._resolved(value, entry.value.line).lower())
        if not isinstance(value, bool):
            self._wrong_type(key, entry, "true or false")
            return None
        return value

    def integer(self, key: str, *, minimum: int) -> int | None:
        """Read a whole number of at least `minimum`."""
        entry = self.entry(key)
        if entry is None:
            return None
        value = entry.value.value if isinstance(entry.value, Scalar) else None
        if isinstance(value, str) and self._resolved(value, entry.value.line).isdecimal():
            value = int(self._resolved(value, entry.value.line))
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            self._wrong_type(key, entry, f"a whole number of at least {minimum}")
            return None
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Read a list of texts; a single text is a list of one."""
        entry = self.entry(key)
        if entry is None:
            return ()
        nodes = entry.value.items if isinstance(entry.value, Items) else (entry.value,)
        found: list[str] = []
        for node in nodes:
            if isinstance(node, Scalar) and isinstance(node.value, str):
                found.append(self._resolved(node.value, node.line))
            else:
                self.problems.add(
                    node.line, f"{self.where}: {key!r} must be a list of texts, but one is {describe(node)}."
                )
        return tuple(found)

    def values(self, key: str, *, templates: bool = True) -> dict[str, JsonValue]:
        """Read a mapping of anything; `templates=False` leaves every `{{ … }}` for run time."""
        entry = self.entry(key)
        if entry is None:
            return {}
        value = self.plain(entry.value, templates=templates)
        if not isinstance(value, dict):
            self._wrong_type(key, entry, "a mapping")
            return {}
        return value

    def set_values(self, key: str) -> tuple[dict[str, JsonValue], dict[str, tuple[str, ...]]]:
        """Read a mapping of anything, apart from the entries whose value names a variable that is not set.

        Returns:
            The values, and for each entry that was left out the names of its unset variables.
        """
        entry = self.entry(key)
        if entry is None or not isinstance(entry.value, Mapping):
            return self.values(key), {}
        unset = {name: self._unset(one.value) for name, one in entry.value.entries.items()}
        values = {name: self.plain(one.value) for name, one in entry.value.entries.items() if not unset[name]}
        return values, {name: variables for name, variables in unset.items() if variables}

    def _unset(self, node: Node) -> tuple[str, ...]:
        if isinstance(node, Scalar):
            return unset_variables(node.value, self.environment) if isinstance(node.value, str) else ()
        parts = node.items if isinstance(node, Items) else [entry.value for entry in node.entries.values()]
        return tuple(dict.fromkeys(name for part in parts for name in self._unset(part)))

    def section(self, key: str, where: str) -> "Section | None":
        """Read a nested mapping to be read field by field, or None when it is absent."""
        entry = self.entry(key)
        if entry is None:
            return None
        if not isinstance(entry.value, Mapping):
            self._wrong_type(key, entry, "a mapping")
            return None
        return Section(entry.value, where, self.problems, self.environment)

    def sections(self, key: str, where: str) -> tuple["Section", ...]:
        """Read a list of mappings; `where` names each, with its number."""
        entry = self.entry(key)
        if entry is None:
            return ()
        if not isinstance(entry.value, Items):
            self._wrong_type(key, entry, "a list")
            return ()
        found: list[Section] = []
        for number, node in enumerate(entry.value.items, start=1):
            if isinstance(node, Mapping):
                found.append(Section(node, f"{where} {number}", self.problems, self.environment))
            else:
                self.problems.add(
                    node.line, f"{where} {number} must be a mapping, but it is {describe(node)}."
                )
        return tuple(found)

    def plain(self, node: Node, *, templates: bool = True) -> JsonValue:
        """Turn a node into plain values, with templates put in unless told otherwise."""
        if isinstance(node, Mapping):
            return {key: self.plain(entry.value, templates=templates) for key, entry in node.entries.items()}
        if isinstance(node, Items):
            return [self.plain(item, templates=templates) for item in node.items]
        if templates and isinstance(node.value, str):
            return self._resolved(node.value, node.line)
        return node.value

    def _resolved(self, text: str, line: int) -> str:
        try:
            return resolve(text, self.environment)
        except UnsetVariableError as error:
            self.problems.add(
                line,
                f"{self.where}: the environment variable {error.name} is not set; set it, "
                "in flows.env if it is your own, and apply again.",
            )
            return text

    def _wrong_type(self, key: str, entry: Entry, expected: str) -> None:
        self.problems.add(
            entry.line, f"{self.where}: {key!r} must be {expected}, but it is {describe(entry.value)}."
        )


def _is_empty(node: Node) -> bool:
    if isinstance(node, Scalar):
        return node.value is None
    return not (node.entries if isinstance(node, Mapping) else node.items)
