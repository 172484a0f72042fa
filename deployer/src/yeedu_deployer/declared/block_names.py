"""The names of the blocks that hold credentials: the platform's own, or an environment's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

CONNECTION_BLOCK = "yeedu-connection-details"
PASSWORD_BLOCK = "yeedu-password"  # noqa: S105 - the block's name, not a password
TOKEN_BLOCK = "yeedu-token"  # noqa: S105 - likewise
GIT_TOKEN_BLOCK = "github-pat-token"  # noqa: S105 - likewise
WAREHOUSE_BLOCK = "warehouse"
OWNED = (CONNECTION_BLOCK, PASSWORD_BLOCK, TOKEN_BLOCK, GIT_TOKEN_BLOCK, WAREHOUSE_BLOCK)


@dataclass(frozen=True)
class BlockNames:
    """The block names of one environment; without an environment, the names above."""

    environment: str = ""

    def of(self, name: str) -> str:
        """Return this environment's name for one of the platform's blocks, and any other name unchanged.

        As in flows, a name may have its type before it (secret/warehouse) and underscores for dashes.
        """
        kind, slash, last = name.strip().rpartition("/")
        known = last.lower().replace("_", "-")
        is_own = bool(self.environment) and known in OWNED and kind + slash in ("", "secret/")
        return f"{kind}{slash}{known}-{self.environment}" if is_own else name

    def within(self, value: JsonValue, key: str = "") -> JsonValue:
        """Return a value, however nested, with this environment's block names in place of the platform's.

        A single word such as `warehouse` may mean many things, so it counts as a block's name only if its
        key says so, like `warehouse_block_name`.
        """
        if isinstance(value, str):
            return self.of(value) if re.search(r"[-_/]", value.strip()) or "block" in key.lower() else value
        if isinstance(value, dict):
            return {name: self.within(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self.within(one, key) for one in value]
        return value

    def parameters(
        self, declared: Mapping[str, JsonValue], schema: Mapping[str, JsonValue]
    ) -> dict[str, JsonValue]:
        """Return a deployment's parameters, adding those whose default names one of the platform's blocks."""
        found: dict[str, JsonValue] = {}
        properties = cast("dict[str, dict[str, JsonValue]]", schema.get("properties") or {})
        for name, described in properties.items():
            default = described.get("default")
            if (own := self.within(default, name)) != default:
                found[name] = own
        return found | {name: self.within(value, name) for name, value in declared.items()}

    def used(self, value: JsonValue) -> set[str]:
        """Return the names of this environment's blocks that a value holds."""
        if isinstance(value, str):
            name = value.removeprefix("secret/")
            return {name} & {self.of(name) for name in OWNED} if self.environment else set()
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return {name for part in parts for name in self.used(part)}
