"""Prints the JSON schema of prefect.yaml for editors: `python -m yeedu_deployer.declared.schema`."""

import json

from pydantic import JsonValue

from yeedu_deployer.declared.keys import MAPPINGS, TOP_LEVEL, Key
from yeedu_deployer.declared.triggers import TRIGGER_KEYS


def json_schema() -> dict[str, JsonValue]:
    """Form the schema from the table of keys that the parser uses."""
    definitions: dict[str, JsonValue] = {name: _mapping(keys) for name, keys in MAPPINGS.items()}
    definitions["trigger"] = {
        "type": "object",
        "properties": {key: {} for key in TRIGGER_KEYS},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "prefect.yaml, as the deployer of this platform reads it",
        **_mapping(TOP_LEVEL),
        "$defs": definitions,
    }


def _mapping(keys: dict[str, Key]) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": {name: _value(key) for name, key in keys.items()} | {"<<": {}},
        "required": [name for name, key in keys.items() if key.required],
        "additionalProperties": False,
    }


def _value(key: Key) -> JsonValue:
    if not key.schema:
        return {"description": key.meaning}
    if key.required:
        return {"description": key.meaning, "allOf": [key.schema]}
    return {"description": key.meaning, "anyOf": [key.schema, {"type": "null"}]}


def text() -> str:
    """The schema as the file in the repository holds it."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(text(), end="")
