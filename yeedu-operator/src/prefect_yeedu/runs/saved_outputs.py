"""Cell outputs in the forms in which Yeedu keeps them in a notebook (yeedu-protocol section 5.3)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prefect_yeedu.models import CellResult, Generation, Output
from prefect_yeedu.wire.answers import JsonObject, object_of, objects_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NOTEBOOK_BYTES = 30 * 1024**2
TOO_LARGE = "The outputs are larger than Yeedu keeps in a notebook; see the log of the run."
_RUN_ID = "prefectYeeduRunId"
_PNG = "data:image/png;base64,"


def saved_output(output: Output) -> Iterable[tuple[str, str]]:
    """Return what is kept of an output: pairs of a type and a text, HTML rather than plain text."""
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
    cell: JsonObject, result: CellResult, generation: Generation, *, run_id: int, run_by: str | None
) -> None:
    """Put a cell's result into the notebook's JSON.

    Args:
        cell: The cell as Yeedu sent it; it is changed.
        result: What became of it.
        generation: Decides the form.
        run_id: In which run, so that outputs of another one are never taken for this one's.
        run_by: Who ran it.
    """
    pairs = [pair for output in result.outputs for pair in saved_output(output)]
    if generation is Generation.V1:
        cell["output"] = [{"type": kind, "Celloutput": text} for kind, text in pairs]
        return
    cell["outputs"] = [{"output_type": kind, "Celloutput": text} for kind, text in pairs]
    ended_at = datetime.now(UTC)
    cell["metadata"] = {
        **object_of(cell, "metadata"),
        _RUN_ID: run_id,
        "startTime": _moment(ended_at - timedelta(seconds=result.duration_seconds)),
        "endTime": _moment(ended_at),
        "lastRunTime": duration_text(result.duration_seconds),
        "executionCount": result.execution_count or 0,
        **({"runBy": run_by} if run_by else {}),
    }


def restore_outputs(cell: JsonObject, run_id: int) -> tuple[Output, ...]:
    """Return the outputs that were saved for a cell in a run; none where another run saved them."""
    outputs: list[Output] = []
    if object_of(cell, "metadata").get(_RUN_ID) != run_id:
        return ()
    for saved in objects_of(cell, "outputs"):
        text = text_of(saved, "Celloutput")
        kind = text_of(saved, "output_type")
        if text is None:
            continue
        if kind == "image":
            outputs.append(Output("display_data", "", {"image/png": text.removeprefix(_PNG)}))
        elif kind == "html":
            outputs.append(Output("display_data", "", {"text/html": text}))
        elif kind == "error":
            outputs.append(Output("error", "", {"text/plain": text}))
        else:
            outputs.append(Output("stream", "stdout", {"text/plain": text}))
    return tuple(outputs)


def fitting(content: JsonObject) -> JsonObject:
    """Return a notebook that is not larger than Yeedu takes: of one that is, without its outputs."""
    if len(json.dumps(content).encode()) <= MAX_NOTEBOOK_BYTES:
        return content
    note = [{"output_type": "text", "Celloutput": TOO_LARGE}]
    cells: list[JsonObject] = [
        {**cell, "outputs": note if cell.get("outputs") else []}
        if "outputs" in cell
        else {**cell, "output": []}
        for cell in objects_of(content, "cells")
    ]
    return {**content, "cells": cells}


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
