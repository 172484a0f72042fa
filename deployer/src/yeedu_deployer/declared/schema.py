"""Prints the JSON schema of prefect.yaml for editors, or its keys for docs/prefect-yaml.md.

python -m yeedu_deployer.declared.schema > deployer/prefect.schema.json
python -m yeedu_deployer.declared.schema --keys
"""

import json
import sys
from typing import Any, cast

from pydantic import BaseModel, JsonValue

from yeedu_deployer.declared.models import Concurrency, Deployment, PrefectYaml, WorkPool
from yeedu_deployer.declared.schedules import Schedule

TEMPLATE: JsonValue = {"type": "string", "pattern": r"\{\{.*\}\}"}
TITLE = "prefect.yaml, as the deployer of this platform reads it"
# The models by the heading of their table.
MODELS: dict[str, type[BaseModel]] = {
    "The file": PrefectYaml,
    "A deployment, under `deployments`": Deployment,
    "`work_pool`": WorkPool,
    "`concurrency_limit`, as a mapping": Concurrency,
    "A schedule, under `schedules`": Schedule,
}


def json_schema() -> dict[str, JsonValue]:
    """Build the schema from the models that read the file."""
    schema: dict[str, Any] = PrefectYaml.model_json_schema()
    definitions: dict[str, Any] = {name: _mapping(one) for name, one in schema.pop("$defs").items()}
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **_mapping(schema), "title": TITLE, "$defs": definitions}


def _mapping(schema: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = schema["properties"]
    return {
        **{key: value for key, value in schema.items() if key not in ("title", "properties")},
        "properties": {name: _value(one) for name, one in properties.items()} | {"<<": {}},
        "patternProperties": {"^x-": {}},
    }


def _value(schema: dict[str, Any]) -> dict[str, Any]:
    """Complete a key's schema: it may be empty, and a number or a switch may be a template."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "description", "default")}
    about = {"description": schema["description"]}
    if not plain:
        return about
    kinds = cast("list[dict[str, Any]]", plain["anyOf"] if list(plain) == ["anyOf"] else [plain])
    is_scalar = any(kind.get("type") in ("boolean", "integer") or "oneOf" in kind for kind in kinds)
    is_optional = "default" in schema and {"type": "null"} not in kinds
    extra = [*([TEMPLATE] if is_scalar else []), *([{"type": "null"}] if is_optional else [])]
    return {**about, "anyOf": [*kinds, *extra]}


def text() -> str:
    """Return the schema as the file in the repository holds it."""
    return json.dumps(json_schema(), indent=2) + "\n"


def tables() -> str:
    """Return every key and its meaning as Markdown tables."""
    found: list[str] = []
    for heading, model in MODELS.items():
        found += [f"### {heading}", "", "| key | meaning |", "| --- | --- |"]
        for name, field in model.model_fields.items():
            key = f"`{field.alias or name}`" + (" (required)" if field.is_required() else "")
            found.append(f"| {key} | {(field.description or '').replace('|', chr(92) + '|')} |")
        found.append("")
    return "\n".join(found)


if __name__ == "__main__":
    print(tables() if "--keys" in sys.argv else text(), end="")
