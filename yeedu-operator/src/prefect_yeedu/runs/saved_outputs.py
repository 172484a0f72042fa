"""Saves and restores cell results in the forms in which Yeedu stores them (yeedu-protocol section 5.3).

Yeedu's editor shows a cell's `outputs`, which have its own form and hold less than the kernel sent. So the
full result is kept beside them, in the cell's metadata, for a later attempt to restore.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from prefect_yeedu.models import CellResult, Output
from prefect_yeedu.wire.notebook_document import NAMESPACE, run_of
from prefect_yeedu.wire.responses import JsonObject, object_of, objects_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prefect_yeedu.wire.notebook_document import Cell

MAX_NOTEBOOK_BYTES = 30 * 1024**2
TOO_LARGE = "The outputs are larger than Yeedu keeps in a notebook; see the log of the run."
_PNG = "data:image/png;base64,"


def saved_output(output: Output) -> Iterable[tuple[str, str]]:
    """Yield what is saved of an output: pairs of a type and a text, HTML rather than plain text."""
    if output.kind == "error":
        yield "error", output.text
        return
    if "image/png" in output.data:
        yield "image", _PNG + output.data["image/png"].strip()
    if "text/html" in output.data:
        yield "html", output.data["text/html"]
    elif output.text and "image/png" not in output.data:
        yield "text", output.text


def save_result(
    cell: JsonObject, result: CellResult, *, is_first_form: bool, run_id: int, run_by: str | None
) -> None:
    """Put a cell's result into the notebook's JSON.

    Args:
        cell: The cell as Yeedu sent it; it is changed.
        result: Its result.
        is_first_form: Whether it has the first generation's form.
        run_id: The run, kept so that results of another one are never taken for this one's.
        run_by: Who ran it.
    """
    metadata = object_of(cell, "metadata")
    kept = {
        "run_id": run_id,
        "status": result.status,
        "duration_seconds": result.duration_seconds,
        "execution_count": result.execution_count,
        "outputs": [output.to_nbformat() for output in result.outputs],
    }
    cell["metadata"] = {**metadata, NAMESPACE: kept}
    if result.status == "skipped":
        return
    pairs = [pair for output in result.outputs for pair in saved_output(output)]
    if is_first_form:
        cell["output"] = [{"type": kind, "Celloutput": text} for kind, text in pairs]
        return
    cell["outputs"] = [{"output_type": kind, "Celloutput": text} for kind, text in pairs]
    ended_at = datetime.now(UTC)
    cell["metadata"] |= {
        "startTime": _moment(ended_at - timedelta(seconds=result.duration_seconds)),
        "endTime": _moment(ended_at),
        "lastRunTime": duration_text(result.duration_seconds),
        "executionCount": result.execution_count or 0,
        **({"runBy": run_by} if run_by else {}),
    }


def restore_result(cell: Cell, raw: JsonObject, run_id: int) -> CellResult | None:
    """Return the result that a run saved for a cell, or None if it saved none."""
    kept = object_of(object_of(raw, "metadata"), NAMESPACE)
    status = text_of(kept, "status")
    if run_of(raw) != run_id or status is None:
        return None
    duration, count = kept.get("duration_seconds"), kept.get("execution_count")
    return result_of(
        cell,
        status,
        tuple(_restored(output) for output in objects_of(kept, "outputs")),
        float(duration) if isinstance(duration, int | float) else 0.0,
        count if isinstance(count, int) else None,
    )


def result_of(
    cell: Cell,
    status: str,
    outputs: tuple[Output, ...] = (),
    duration_seconds: float = 0.0,
    execution_count: int | None = None,
) -> CellResult:
    """Return the result of a cell, completed with the cell's own fields."""
    return CellResult(
        index=cell.index,
        status=status,
        outputs=outputs,
        duration_seconds=duration_seconds,
        execution_count=execution_count,
        source=cell.source,
        cell_type=cell.cell_type,
        tags=cell.tags,
    )


def is_whole(raw: JsonObject) -> bool:
    """Return False if the outputs of a cell's saved result were left out for lack of room."""
    kept = object_of(object_of(raw, "metadata"), NAMESPACE)
    return not kept or "outputs" in kept


def fitting(content: JsonObject) -> JsonObject:
    """Return a notebook that is no larger than Yeedu accepts.

    If it is too large, the copies of the outputs for later attempts are left out, and if that is not enough,
    the outputs that the editor shows as well.
    """
    if _fits(content):
        return content
    cells = [_without_copy(cell) for cell in objects_of(content, "cells")]
    if _fits({**content, "cells": cells}):
        return {**content, "cells": cells}
    return {**content, "cells": [_without_outputs(cell) for cell in cells]}


def _without_copy(cell: JsonObject) -> JsonObject:
    metadata = object_of(cell, "metadata")
    kept = object_of(metadata, NAMESPACE)
    if not kept.get("outputs"):
        return cell
    rest = {key: value for key, value in kept.items() if key != "outputs"}
    return {**cell, "metadata": {**metadata, NAMESPACE: rest}}


def _without_outputs(cell: JsonObject) -> JsonObject:
    if "outputs" not in cell:
        return {**cell, "output": []}
    note = [{"output_type": "text", "Celloutput": TOO_LARGE}]
    return {**cell, "outputs": note if cell["outputs"] else []}


def _fits(content: JsonObject) -> bool:
    return len(json.dumps(content)) <= MAX_NOTEBOOK_BYTES


def _restored(output: JsonObject) -> Output:
    """Return the output that `Output.to_nbformat` wrote."""
    kind = text_of(output, "output_type") or ""
    if kind == "stream":
        return Output(kind, text_of(output, "name") or "", {"text/plain": text_of(output, "text") or ""})
    if kind == "error":
        lines = cast("list[object]", output.get("traceback") or [])
        text = {"text/plain": "\n".join(map(str, lines))}
        return Output(kind, text_of(output, "ename") or "", text, evalue=text_of(output, "evalue") or "")
    items = object_of(output, "data").items()
    data = {mime: value if isinstance(value, str) else json.dumps(value) for mime, value in items}
    count = output.get("execution_count")
    return Output(
        kind,
        data=data,
        metadata=object_of(output, "metadata"),
        execution_count=count if isinstance(count, int) else None,
    )


def duration_text(seconds: float) -> str:
    """Return a duration as Yeedu's editor shows it: `0.105s`, `3s`, `2m 5s`, `1h 2m 3s`."""
    if seconds < 1:
        return f"{seconds:.3f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m {rest}s"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
