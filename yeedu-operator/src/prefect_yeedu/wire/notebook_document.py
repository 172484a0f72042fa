"""A notebook's cells, in each of the forms in which Yeedu keeps them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import cast

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.wire.answers import JsonObject, object_of, objects_of, text_of


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        index: Position in the notebook, counted from 1.
        id: Names the cell in messages; unique within the notebook.
        code: What the kernel is sent.
        is_executable: Whether it is code, and not text or blank.
    """

    index: int
    id: str
    code: str
    is_executable: bool


class NotebookDocument:
    """A notebook as Yeedu gave it.

    Args:
        content: The notebook: nbformat 4 (`source`, `outputs`), or the first generation's cells (`code`,
            `output`).
        language: The notebook's language; SQL is sent to the kernel as a `%%sql` cell.
        is_first_form: Whether the cells have the first generation's form.

    Raises:
        YeeduConfigurationError: There are no cells in it.
    """

    def __init__(
        self, content: JsonObject, language: str | None = None, *, is_first_form: bool = False
    ) -> None:
        self.content = content
        self.is_first_form = is_first_form
        self._is_sql = (language or "").strip().lower() == "sql"
        if not isinstance(content.get("cells"), list):
            raise YeeduConfigurationError(
                "The notebook that Yeedu sent has no cells; open and save it in Yeedu's notebook editor."
            )
        self.raw_cells = objects_of(content, "cells")
        self.cells = self._read_cells()

    @classmethod
    def of_definition(cls, definition: JsonObject, language: str | None) -> NotebookDocument | None:
        """Return the notebook that a first-generation definition holds itself, if it does."""
        content = object_of(definition, "notebook_cells")
        return cls(content, language, is_first_form=True) if "cells" in content else None

    def _read_cells(self) -> tuple[Cell, ...]:
        seen: set[str] = set()
        cells: list[Cell] = []
        for index, raw in enumerate(self.raw_cells, 1):
            identifier = text_of(raw, "cell_uuid")
            if identifier is None or identifier in seen:  # a copied cell may carry the original's id
                identifier = str(uuid.uuid4())
                raw["cell_uuid"] = identifier
            seen.add(identifier)
            code = _source(raw)
            is_code = (text_of(raw, "cell_type") or "code") == "code"
            if self._is_sql and not code.lstrip().startswith("%%"):
                code = f"%%sql\n{code}"
            cells.append(Cell(index, identifier, code, is_code and bool(_source(raw).strip())))
        return tuple(cells)


def _source(raw: JsonObject) -> str:
    value: object = raw.get("source", raw.get("code"))
    if isinstance(value, list):
        return "".join(str(line) for line in cast("list[object]", value))
    return value if isinstance(value, str) else ""
