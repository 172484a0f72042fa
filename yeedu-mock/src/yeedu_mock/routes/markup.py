"""Write the pages of the mock as HTML; every value is escaped here and nowhere else."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, cast

from fastapi.responses import HTMLResponse

JSONObject = dict[str, Any]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
color: #1d2433; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .8rem .3rem 0;
border-bottom: 1px solid #dfe3ea; vertical-align: top; overflow-wrap: anywhere; }
pre { background: #f4f6f9; padding: .8rem; overflow: auto; max-height: 32rem; } img { max-width: 100%; }
iframe { border: 1px solid #dfe3ea; width: 100%; height: 12rem; background: #fff; } a { color: #0b57c2; }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #e4e8ef; }
pre { background: #1d232d; } a { color: #8ab4f8; } th, td { border-color: #333b47; } }
"""
# Notebook outputs are shown too: nothing on a page may run, or load anything from elsewhere.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; form-action 'self'"


def page(title: str, *parts: str, refresh_seconds: int | None = None) -> HTMLResponse:
    """Return a whole page; `parts` are markup already."""
    refresh = f'<meta http-equiv="refresh" content="{refresh_seconds}">' if refresh_seconds else ""
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{refresh}'
        f"<title>{escape(title)} - Yeedu mock</title><style>{STYLE}</style>"
    )
    body = f'<p><a href="/">Yeedu mock</a></p><h1>{escape(title)}</h1>{"".join(parts)}'
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>',
        headers={"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"},
    )


def heading(text: str) -> str:
    """Return a second-level heading."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>"


def link(text: object, address: str) -> str:
    """Return a link, as markup for a cell of `table`."""
    return f'<a href="{escape(address)}">{escape(str(text))}</a>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are markup already."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def facts(values: Mapping[str, object]) -> str:
    """Return a table of names and values."""
    return table(("", ""), ((escape(name), escape(str(value))) for name, value in values.items()))


def text(value: object) -> str:
    """Return any value as the markup of a cell."""
    return escape(str(value))


def block(content: str) -> str:
    """Return preformatted text."""
    return f"<pre>{escape(content) or '(empty)'}</pre>"


def notebook_cells(content: JSONObject) -> str:
    """Return a notebook's cells with their outputs, in whichever of the clients' forms they were saved."""
    parts: list[str] = []
    for number, cell in enumerate(_objects(content.get("cells")), 1):
        parts.append(heading(f"Cell {number}") + block(joined(cell.get("source", cell.get("code", "")))))
        parts.extend(_output(output) for output in _objects(cell.get("outputs", cell.get("output"))))
    return "".join(parts)


def _objects(value: Any) -> list[JSONObject]:
    """Return the objects in what should be a list of them; clients decide what they save."""
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("JSONObject", item) for item in items if isinstance(item, dict)]


def joined(value: Any) -> str:
    """Return text that may be a list of lines."""
    return "".join(str(line) for line in cast("list[Any]", value)) if isinstance(value, list) else str(value)


def _output(output: JSONObject) -> str:
    kind = output.get("output_type", output.get("type"))
    content = joined(output.get("Celloutput", output.get("text", "")))
    if kind == "html":
        return f'<iframe sandbox srcdoc="{escape(content)}"></iframe>'
    if kind == "image" and content.startswith("data:image/"):
        return f'<img alt="output" src="{escape(content)}">'
    return block(content)
