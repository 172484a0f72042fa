"""Requests generated from the mock's own OpenAPI document: values that fit its schemas, and odd ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from yeedu_mock.testing import RunningMock

STEADY = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

UNDOCUMENTED_QUERY = [
    *("job_id", "job_name", "notebook_id", "notebook_name", "job_conf_id", "job_conf_name"),
    *("notebook_conf_id", "job_conf_ids", "job_status", "isActive", "enable", "has_run", "cluster_ids"),
]
KNOWN = [
    1,
    2,
    10,
    30,
    31,
    101,
    102,
    201,
    202,
    "hello-job",
    "hello-notebook",
    "demo-cluster",
    "stdout",
    "true",
    "日本",
    "9" * 5000,
]
KNOWN_TEXT = [one for one in KNOWN if isinstance(one, str)]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ODD_TEXT = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "a\r\nb: c",
        'a"b',
        "日本",
        "é",
        "../..",
        "%",
        "٣",
        "9" * 5000,
        "a{99999999999}",
        "(" * 3000,
    ]
)
NUMBERS = st.integers(-(2**70), 2**70) | st.sampled_from([1e308, -0.5, float("nan"), float("inf"), 10**400])
ODD = st.recursive(
    st.none() | st.booleans() | NUMBERS | ODD_TEXT | TEXT | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ODD_TEXT | TEXT, inner, max_size=2),
    max_leaves=4,
)
RAW_BODIES = st.binary(max_size=8) | st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b'{"name": "x"'])


@dataclass(frozen=True)
class Operation:
    """One method of one path of the document."""

    method: str
    path: str
    details: dict[str, Any]
    schemas: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def parameters(self, place: str) -> dict[str, st.SearchStrategy[Any]]:
        found = [entry for entry in self.details.get("parameters", []) if entry["in"] == place]
        return {entry["name"]: self.value(entry["schema"]) for entry in found}

    def value(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        """Return values: seven of eight that fit a schema, the others of any kind."""
        fitting = self.fitting(schema)
        odd = ODD_TEXT | ODD
        return st.integers(0, 7).flatmap(lambda die: fitting if die else odd)

    def fitting(self, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self.fitting(self.schemas[schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return st.one_of([self.fitting(one) for one in schema["anyOf"]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        match schema.get("type"):
            case "integer":
                return st.sampled_from([1, 1, 30, 101, 201, 1001, 1002]) | st.integers(-1, 2**64)
            case "number":
                return st.floats(0, 1e9)
            case "boolean":
                return st.booleans()
            case "string":
                return st.sampled_from(KNOWN_TEXT) | ODD_TEXT | TEXT
            case "null":
                return st.none()
            case "array":
                return st.lists(self.value(schema.get("items", {})), max_size=3)
            case "object":
                return self.object(schema)
        return ODD

    def object(self, schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
        properties = {name: self.value(inner) for name, inner in schema.get("properties", {}).items()}
        required = {name: properties.pop(name) for name in schema.get("required", [])}
        more = st.dictionaries(TEXT, ODD, max_size=1) if schema.get("additionalProperties") else st.just({})
        known = st.fixed_dictionaries(required, optional=properties)
        return st.builds(lambda extra, fields: extra | fields, more, known)

    def body(self) -> st.SearchStrategy[Any]:
        content = self.details.get("requestBody", {}).get("content", {})
        if str(self) == "PATCH /_control/switches":
            return self.value({"$ref": "#/components/schemas/Switches"})
        if self.path.endswith("/update"):  # reads its body by itself
            return self.object({"properties": {"cells": {"type": "array"}}, "additionalProperties": True})
        return self.fitting(content["application/json"]["schema"]) if content else st.none()

    def requests(self) -> st.SearchStrategy[dict[str, Any]]:
        undocumented = st.dictionaries(
            st.sampled_from(UNDOCUMENTED_QUERY), st.sampled_from(KNOWN) | ODD_TEXT, max_size=2
        )
        return st.fixed_dictionaries(
            {
                "path": st.fixed_dictionaries(self.parameters("path")),
                "query": st.fixed_dictionaries({}, optional=self.parameters("query")),
                "more": undocumented,
                "body": st.one_of(*[self.body().map(json.dumps)] * 9, RAW_BODIES),
                "authorization": st.sampled_from(
                    ["logged in"] * 30 + ["", "Bearer", "Bearer \xff", "Basic eDp5", "Bearer " + "x" * 9000]
                ),
            }
        )


def operations(mock: RunningMock) -> list[Operation]:
    document = requests.get(f"{mock.url}/openapi.json", timeout=30).json()
    schemas = document["components"]["schemas"]
    return [
        Operation(method.upper(), path, details, schemas)
        for path, methods in document["paths"].items()
        for method, details in methods.items()
    ]
