"""Reads a notebook's cells and outputs for the pages, in whichever form a client has saved them."""

import re
from dataclasses import dataclass
from typing import Any, Literal, cast

JSONObject = dict[str, Any]
Kind = Literal["text", "error", "html", "image"]

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Output:
    """One output of a cell; an image's content is a `data:` URL."""

    kind: Kind
    content: str


@dataclass(frozen=True)
class Cell:
    """One cell."""

    source: str
    outputs: list[Output]


def cells_of(notebook: JSONObject) -> list[Cell]:
    """Return a notebook's cells, without anything else in their list: clients may save what they like."""
    return [
        Cell(
            _joined(cell.get("source", cell.get("code", ""))),
            [_output(output) for output in _objects(cell.get("outputs", cell.get("output")))],
        )
        for cell in _objects(notebook.get("cells"))
    ]


def _output(output: JSONObject) -> Output:
    kind = output.get("output_type", output.get("type"))
    data = cast("JSONObject", output["data"]) if isinstance(output.get("data"), dict) else {}
    content = _joined(output.get("Celloutput", output.get("text", "")))
    if kind == "html" or "text/html" in data:
        return Output("html", content or _joined(data["text/html"]) if data else content)
    if kind == "image" and content.startswith("data:image/"):
        return Output("image", content)
    if "image/png" in data:
        return Output("image", "data:image/png;base64," + _joined(data["image/png"]).strip())
    if kind == "error":
        lines = output.get("traceback") or [f"{output.get('ename')}: {output.get('evalue')}"]
        return Output("error", COLOUR.sub("", content or "\n".join(str(line) for line in _items(lines))))
    return Output("text", COLOUR.sub("", content or _joined(data.get("text/plain", ""))))


def _items(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _objects(value: Any) -> list[JSONObject]:
    return [cast("JSONObject", item) for item in _items(value) if isinstance(item, dict)]


def _joined(value: Any) -> str:
    """Return text that may be a list of lines."""
    return "".join(str(line) for line in _items(value)) if isinstance(value, list) else str(value)
