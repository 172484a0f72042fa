"""Reads a notebook's cells in each of the forms in which Yeedu stores them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.wire.notebook_parameters import INJECTED_TAG, PARAMETERS_TAG, parameters_code
from prefect_yeedu.wire.responses import JsonObject, object_of, objects_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SKIP_TAG = "skip-execution"
MAY_RAISE_TAG = "raises-exception"
# The key in a cell's metadata under which this package stores its own data.
NAMESPACE = "prefect_yeedu"
CELL_TYPES = frozenset({"code", "markdown", "raw"})


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        index: Position in the notebook, counted from 1.
        id: Identifies the cell in messages; unique within the notebook.
        code: The code that is sent to the kernel.
        is_executable: Whether it is code to execute, and not text, blank or tagged `skip-execution`.
        source: The cell's text.
        cell_type: `code`, `markdown` or `raw`.
        tags: The cell's tags.
    """

    index: int
    id: str
    code: str
    is_executable: bool
    source: str = ""
    cell_type: str = "code"
    tags: tuple[str, ...] = ()

    @property
    def may_raise(self) -> bool:
        """Whether the notebook goes on after this cell has failed."""
        return MAY_RAISE_TAG in self.tags


class NotebookDocument:
    """A notebook as Yeedu sent it.

    Args:
        content: The notebook: nbformat 4 (`source`, `outputs`), or the first generation's cells (`code`,
            `output`).
        language: The notebook's language; SQL is sent to the kernel as a `%%sql` cell.
        is_first_form: Whether the cells have the first generation's form.
        parameters: Variables for an injected cell to assign: in place of one tagged `injected-parameters`,
            else after the one tagged `parameters`, else before all others. An injected cell that this run has
            executed stays as it was.
        run_id: The run.

    Raises:
        YeeduConfigurationError: The notebook has no cells, or cannot take these parameters.
    """

    def __init__(
        self,
        content: JsonObject,
        language: str | None = None,
        *,
        is_first_form: bool = False,
        parameters: Mapping[str, Any] | None = None,
        run_id: int | None = None,
    ) -> None:
        self.language = language or ""
        self.is_first_form = is_first_form
        self._content = content
        self._is_sql = self.language.strip().lower() == "sql"
        if not isinstance(content.get("cells"), list):
            raise YeeduConfigurationError(
                "The notebook that Yeedu sent has no cells; open and save it in Yeedu's notebook editor."
            )
        self._own_cells = objects_of(content, "cells")
        self.raw_cells = list(self._own_cells)
        if parameters:
            self._inject(parameters, run_id)
        self.cells = self._read_cells()

    @classmethod
    def of_definition(
        cls, definition: JsonObject, language: str | None, parameters: Mapping[str, Any] | None = None
    ) -> NotebookDocument | None:
        """Return the notebook inside a first-generation definition, or None if there is none."""
        content = object_of(definition, "notebook_cells")
        if "cells" not in content:
            return None
        return cls(content, language, is_first_form=True, parameters=parameters)

    def content(self, *, is_copy: bool) -> JsonObject:
        """Return the notebook with the results of its cells.

        Args:
            is_copy: Whether it is saved as a run's own copy; only that has the injected cell with parameters,
                never the definition.
        """
        return {**self._content, "cells": self.raw_cells if is_copy else self._own_cells}

    def _inject(self, parameters: Mapping[str, Any], run_id: int | None) -> None:
        code = parameters_code(parameters, self.language)
        tags = [set(_tags(raw)) for raw in self.raw_cells]
        old = next((at for at, names in enumerate(tags) if INJECTED_TAG in names), None)
        if old is not None:
            if run_id is not None and run_of(self.raw_cells[old]) == run_id:
                return
            self.raw_cells[old] = {**self.raw_cells[old], "code" if self.is_first_form else "source": code}
            return
        after = next((at for at, names in enumerate(tags, 1) if PARAMETERS_TAG in names), 0)
        cell: JsonObject = {"cell_type": "code", "metadata": {"tags": [INJECTED_TAG]}}
        form: JsonObject = (
            {"code": code, "output": []} if self.is_first_form else {"source": code, "outputs": []}
        )
        self.raw_cells.insert(after, {**cell, "cell_uuid": str(uuid.uuid4()), **form})

    def _read_cells(self) -> tuple[Cell, ...]:
        seen: set[str] = set()
        cells: list[Cell] = []
        for index, raw in enumerate(self.raw_cells, 1):
            identifier = text_of(raw, "cell_uuid")
            if identifier is None or identifier in seen:  # a copied cell may carry the original's id
                identifier = str(uuid.uuid4())
                raw["cell_uuid"] = identifier
            seen.add(identifier)
            source, tags = _source(raw), _tags(raw)
            cell_type = text_of(raw, "cell_type") or "code"
            code = f"%%sql\n{source}" if self._is_sql and not source.lstrip().startswith("%%") else source
            is_executable = cell_type == "code" and bool(source.strip()) and SKIP_TAG not in tags
            cell_type = cell_type if cell_type in CELL_TYPES else "raw"
            cells.append(Cell(index, identifier, code, is_executable, source, cell_type, tags))
        return tuple(cells)


def run_of(raw: JsonObject) -> object:
    """Return the run that executed a cell, according to the result that was saved with it."""
    return object_of(object_of(raw, "metadata"), NAMESPACE).get("run_id")


def _source(raw: JsonObject) -> str:
    value: object = raw.get("source", raw.get("code"))
    if isinstance(value, list):
        return "".join(str(line) for line in cast("list[object]", value))
    return value if isinstance(value, str) else ""


def _tags(raw: JsonObject) -> tuple[str, ...]:
    value: object = object_of(raw, "metadata").get("tags")
    items = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))
