"""The settings as .env.example describes them, and the services that Compose gives each to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_USED = re.compile(r"\$\{(\w+)")
_TITLE = re.compile(r"# --- (.+?) -+")
_SETTING = re.compile(r"#([A-Z][A-Z0-9_]*)=(.*)")


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: As it is written in `.env`.
        default: What counts without it; empty for nothing.
        services: Of Compose; empty for one that only the commands of the host read.
    """

    name: str
    default: str
    services: tuple[str, ...]


@dataclass
class Group:
    """Settings that one text describes."""

    text: str
    settings: list[Setting] = field(default_factory=list[Setting])


@dataclass
class Section:
    """Groups under one title."""

    title: str
    groups: list[Group] = field(default_factory=list[Group])


class _Loader(yaml.SafeLoader):
    """Reads what Compose adds to YAML, without doing harm."""


def _plain(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else None


_Loader.add_constructor("!reset", _plain)
_Loader.add_constructor("!override", _plain)


def sections(root: Path) -> list[Section]:
    """Return the sections of .env.example, with the services of every compose file beside each setting."""
    users = _users(root)
    found: list[Section] = []
    words: list[str] = []
    for line in (root / ".env.example").read_text(encoding="utf-8").splitlines():
        if title := _TITLE.fullmatch(line):
            found.append(Section(title[1]))
            words = []
        elif not found:
            continue
        elif setting := _SETTING.fullmatch(line):
            if words or not found[-1].groups:
                found[-1].groups.append(Group(" ".join(words)))
                words = []
            services = tuple(sorted(users.get(setting[1], ())))
            found[-1].groups[-1].settings.append(Setting(setting[1], setting[2], services))
        elif line.startswith("# "):
            words.append(line.removeprefix("# "))
    return found


def _users(root: Path) -> Mapping[str, set[str]]:
    """Return the services that name each setting, or that mount a secret or a config which does."""
    users: dict[str, set[str]] = {}
    for pattern in ("docker-compose*.yaml", "deploy/*.yaml", "proxy/compose.yaml"):
        for file in root.glob(pattern):
            content: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506
            shared: dict[str, Any] = {**(content.get("secrets") or {}), **(content.get("configs") or {})}
            services: dict[str, dict[str, Any] | None] = content.get("services") or {}
            for name, service in services.items():
                for setting in _USED.findall(str(service) + _mounted(service or {}, shared)):
                    users.setdefault(setting, set()).add(name.removesuffix("-pulled"))
    return users


def _mounted(service: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """Return what a service's secrets and configs are said to be."""
    mounts: list[Any] = [*(service.get("secrets") or []), *(service.get("configs") or [])]
    sources: list[str] = [mount if isinstance(mount, str) else mount["source"] for mount in mounts]
    return "".join(str(shared.get(source)) for source in sources)
