"""What a notebook shows becomes artifacts; what its cells made is saved in Yeedu."""

import json
from typing import Any

import pytest
from addressed import execute
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from operators.yeedu import YeeduOperator
from prefect_yeedu.models import CellResult, Generation, Output
from prefect_yeedu.runs.saved_outputs import (
    MAX_NOTEBOOK_BYTES,
    duration_text,
    fitting,
    restore_outputs,
    save_result,
)
from prefect_yeedu.runs.starting import RunRequest

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
SHOW_PNG = (
    f"import base64\nfrom IPython.display import Image, display\ndisplay(Image(base64.b64decode('{PNG}')))"
)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Prefect's own sockets
def test_images_tables_and_progress_become_artifacts(mock: MockYeedu) -> None:
    table = "class Table:\n    def _repr_html_(self): return '<table><tr><th>n</th></tr></table>'\n"
    table += "    def __repr__(self): return 'n\\n```1'\nTable()"
    notebook = mock.control("POST", "notebooks", json={"cells": [SHOW_PNG, table]})["notebook_id"]

    @flow
    def caller() -> str:
        made = YeeduOperator(mock.url(f"notebook/{notebook}"), "yeedu_connection_details", "yeedu_password")
        return made.execute().url

    state = caller(return_state=True)
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        found: dict[str, Any] = {str(one.key): one for one in client.read_artifacts(artifact_filter=wanted)}
    name = f"yeedu-notebook-{notebook}"
    picture, text, progress = (found[f"{name}-{suffix}"] for suffix in ("cell-1", "cell-2", "progress"))
    assert (picture.type, picture.data) == ("image", f"data:image/png;base64,{PNG}")
    assert picture.description == f"Yeedu notebook {notebook}: output of cell 1."
    assert text.type == "markdown"
    assert text.data == f"````text\nn\n```1\n````\n\n[As Yeedu shows it]({state.result()})\n"
    assert progress.data == 100.0


def test_outputs_are_saved_in_the_run_s_notebook(mock: MockYeedu) -> None:
    cells = ["print('kept')", SHOW_PNG]
    notebook = mock.control("POST", "notebooks", json={"cells": cells})["notebook_id"]
    with mock.client(f"notebook/{notebook}") as client:
        result = execute(client, RunRequest())
        path = f"workspace/1/notebook/{notebook}/run/{result.run_id}/download"
        saved = client.get_object(path, "for the notebook")
    first, second = saved["cells"]
    assert first["outputs"] == [{"output_type": "text", "Celloutput": "kept\n"}]
    assert second["outputs"] == [{"output_type": "image", "Celloutput": f"data:image/png;base64,{PNG}"}]
    assert first["metadata"]["executionCount"] == 1
    assert first["metadata"]["runBy"] == "demo"
    assert first["metadata"]["endTime"].endswith("Z")


def test_what_is_saved_can_be_read_again_by_the_same_run_only() -> None:
    outputs = (
        Output("stream", "stdout", {"text/plain": "a\n"}),
        Output("display_data", "", {"text/html": "<b>", "text/plain": "plain"}),
        Output("display_data", "", {"image/png": "aGk=", "text/plain": "<Figure>"}),
        Output("error", "E", {"text/plain": "trace"}),
    )
    cell: dict[str, Any] = {"cell_type": "code", "source": "x", "metadata": {"id": "kept"}}
    save_result(cell, CellResult(1, "ok", outputs, 0.5, 3), Generation.V2, run_id=9, run_by=None)
    assert [kind["output_type"] for kind in cell["outputs"]] == ["text", "html", "image", "error"]
    assert cell["metadata"]["id"] == "kept"
    assert [output.data for output in restore_outputs(cell, 9)] == [
        {"text/plain": "a\n"},
        {"text/html": "<b>"},
        {"image/png": "aGk="},
        {"text/plain": "trace"},
    ]
    assert restore_outputs(cell, 10) == ()


def test_the_first_generation_has_its_own_form() -> None:
    cell: dict[str, Any] = {"cell_uuid": "u", "code": "x", "output": []}
    output = Output("stream", "stdout", {"text/plain": "a"})
    save_result(cell, CellResult(1, "ok", (output,)), Generation.V1, run_id=9, run_by="me")
    assert cell == {"cell_uuid": "u", "code": "x", "output": [{"type": "text", "Celloutput": "a"}]}


def test_a_notebook_larger_than_yeedu_takes_loses_its_outputs() -> None:
    big = {
        "cells": [
            {"source": "x", "outputs": [{"output_type": "text", "Celloutput": "y" * MAX_NOTEBOOK_BYTES}]}
        ]
    }
    fitted = fitting(big)
    assert len(json.dumps(fitted)) < 1000
    assert fitted["cells"][0]["source"] == "x"
    assert "larger than Yeedu keeps" in fitted["cells"][0]["outputs"][0]["Celloutput"]
    assert fitting(fitted) is fitted


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1049, "0.105s"), (3.4, "3s"), (125, "2m 5s"), (3723, "1h 2m 3s")]
)
def test_durations_read_as_in_yeedus_editor(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
