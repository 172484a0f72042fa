"""Resolves `--only`: selects deployments of the file by name, flow and name, pattern, or folder."""

import difflib
from collections.abc import Mapping as EnvironmentMapping
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from yeedu_deployer.declared.templating import resolve_at_run_time
from yeedu_deployer.declared.yaml_marks import Items, Mapping
from yeedu_deployer.declared.yaml_reader import load
from yeedu_deployer.errors import SelectionError

MAX_NAMES_TOLD = 12
FLOWS = "flows/"


@dataclass(frozen=True)
class Entry:
    """What identifies one deployment of the file; a twin has the same name as another."""

    name: str
    entrypoint: str
    line: int = 1
    is_twin: bool = False

    @property
    def id(self) -> str:
        """Its identity in the file, as in `DeploymentSpec.id`."""
        line = f"line {self.line}"
        return line if not self.name else f"{self.name} ({line})" if self.is_twin else self.name


@dataclass(frozen=True)
class Selection:
    """What `--only` asks for among the deployments of one file.

    Each of `wanted` is a `NAME`, a `FLOW/NAME`, a pattern of either (`*`, `?`, `[...]`), a folder of
    entrypoints with a trailing slash, or a pattern of their paths (`project/*`); folders and paths may omit
    `flows/`. Empty means every deployment.
    """

    wanted: tuple[str, ...]
    entries: tuple[Entry, ...]
    file: str

    def names(self, suffix: str = "") -> frozenset[str]:
        """Return the ids of the deployments that may be meant.

        Flow names are known only once the code is read; `refused` does the rest. Names may be given with or
        without the suffix that an environment adds. Raises `SelectionError` for one that matches nothing.
        """
        if not self.wanted:
            return frozenset(entry.id for entry in self.entries)
        found: set[str] = set()
        unknown: list[str] = []
        for one in self.wanted:
            matches, _ = self._matches(one, suffix)
            found.update(matches)
            if not matches:
                unknown.append(self._unknown(one, suffix))
        if unknown:
            raise SelectionError("\n".join(unknown))
        return frozenset(found)

    def refused(self, flows: EnvironmentMapping[str, str], suffix: str = "") -> frozenset[str]:
        """Return which of `names` are not meant after all, given the names of the flows by id.

        Raises `SelectionError` if no deployment of a name belongs to the flow that was asked for.
        """
        chosen: set[str] = set()
        for one in self.wanted:
            matches, flow = self._matches(one, suffix)
            fitting = {key for key in matches if not flow or fnmatchcase(flows.get(key, flow), flow)}
            if not fitting:
                keys = sorted(f"{flows[key]}/{name}" for key, name in matches.items())
                raise SelectionError(f"--only {one!r} is no deployment of {self.file}; it has {_list(keys)}.")
            chosen |= fitting
        return self.names(suffix) - chosen

    def _matches(self, one: str, suffix: str) -> tuple[dict[str, str], str]:
        """Return the matching names by id, and what their flow's name must match; empty for any."""
        in_folder = {entry.id: entry.name for entry in self.entries if _is_in_folder(one, entry)}
        if in_folder:
            return in_folder, ""
        named = {entry.id: entry.name for entry in self.entries if _is_named(one, entry, suffix)}
        return named, one.rpartition("/")[0]

    def _unknown(self, one: str, suffix: str) -> str:
        names = [entry.name for entry in self.entries]
        folders = sorted({f"{folder}/" for entry in self.entries if (folder := _folder_of(entry))})
        if {f"{one}/", f"{FLOWS}{one}/"} & {*folders}:
            return f"--only {one!r} is no deployment of {self.file}; for all in that folder: '{one}/'."
        if one.endswith("/"):
            near = difflib.get_close_matches(one, folders, n=2)
            hint = _or(near) if near else f"its entrypoints are in {_list(folders)}."
            return f"--only {one!r}: no entrypoint of {self.file} is in that folder; {hint}"
        name = one.rpartition("/")[2]
        near = difflib.get_close_matches(name.removesuffix(suffix) if suffix else name, names, n=3)
        hint = _or(near) if near else f"it has {_list(names)}."
        return f"--only {one!r} is no deployment of {self.file}; {hint}"


def read_selection(file: Path, environment: EnvironmentMapping[str, str], wanted: Sequence[str]) -> Selection:
    """Read the names in a prefect.yaml and nothing else, since what is not selected may have mistakes."""
    entries = entries_of(load(file, apart="deployments"), environment)
    return Selection(tuple(one.removeprefix("./") for one in wanted), entries, str(file))


def entries_of(top: Mapping, environment: EnvironmentMapping[str, str]) -> tuple[Entry, ...]:
    """List what identifies each deployment; mistakes are reported when the whole file is read."""
    sections = top.get("deployments")
    found: list[tuple[str, str, int]] = []
    for section, line in zip(sections, sections.lines, strict=True) if isinstance(sections, Items) else ():
        texts = [section.get(key) if isinstance(section, Mapping) else "" for key in ("name", "entrypoint")]
        name, entrypoint = (
            resolve_at_run_time(text, environment) if isinstance(text, str) else "" for text in texts
        )
        at = section.lines.get("name", section.line) if isinstance(section, Mapping) else line
        found.append((name, entrypoint, at))
    names = [name for name, _, _ in found]
    return tuple(Entry(name, path, line, names.count(name) > 1) for name, path, line in found)


def _is_in_folder(one: str, entry: Entry) -> bool:
    path = entry.entrypoint.rpartition(":")[0]
    pattern = f"{one}*" if one.endswith("/") else one
    return "/" in one and any(fnmatchcase(form, pattern) for form in (path, path.removeprefix(FLOWS)))


def _is_named(one: str, entry: Entry, suffix: str) -> bool:
    if one.count("/") > 1 or one.endswith("/"):
        return False
    name = one.rpartition("/")[2]
    return fnmatchcase(entry.name, name) or (bool(suffix) and fnmatchcase(f"{entry.name}{suffix}", name))


def _folder_of(entry: Entry) -> str:
    return entry.entrypoint.rpartition(":")[0].rpartition("/")[0]


def _or(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(map(repr, names))}?"


def _list(names: Sequence[str]) -> str:
    told = ", ".join(names[:MAX_NAMES_TOLD]) or "none"
    return f"{told} and {len(names) - MAX_NAMES_TOLD} more" if len(names) > MAX_NAMES_TOLD else told
