"""The Compose files as they are written, without a Docker engine: what a service has, by the settings."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from local.settings.platform import ROOT


class _Loader(yaml.SafeLoader):
    """Reads what Compose adds to YAML: what is taken away is None, what is replaced is itself."""


_Loader.add_constructor("!reset", lambda loader, node: None)
_Loader.add_constructor("!override", lambda loader, node: _plain(loader, node))


def _plain(loader: Any, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True)


def read(text: str) -> dict[str, Any]:
    """Return what a Compose file says."""
    return yaml.load(text, _Loader)


def services(*files: str) -> dict[str, dict[str, Any]]:
    """Return the services of some files, whose environments and volumes are put together as Compose does.

    One that a later file takes away is left out; of one that `extends` another of these files, both.
    """
    by_file = {Path(file).name: read((ROOT / file).read_text(encoding="utf-8"))["services"] for file in files}
    found: dict[str, dict[str, Any]] = {}
    for file, own in by_file.items():
        for name, service in own.items():
            if service is None:
                found.pop(name, None)
                continue
            base, extended = found.get(name, {}), service.get("extends", {})
            if (of := Path(extended.get("file", file)).name) != file and of in by_file:
                base = {**by_file[of][extended["service"]], **base}
            environments = [one.get("environment") or {} for one in (base, service)]
            found[name] = {
                **base,
                **service,
                "environment": {**environments[0], **environments[1]},
                "volumes": [*base.get("volumes", []), *service.get("volumes", [])],
            }
    return found


def expanded(text: str, values: Mapping[str, str]) -> str:
    """Expand ${NAME:-default} as Compose does, the innermost first."""
    pattern = re.compile(r"\$\{(\w+)(:?)[-?]([^${}]*)\}")
    while match := pattern.search(text):
        name, colon, default = match.groups()
        value = values.get(name)
        chosen = default if value is None or (colon and not value) else value
        text = text[: match.start()] + chosen + text[match.end() :]
    return text
