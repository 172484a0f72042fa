"""What a notebook shows becomes artifacts; what its cells made is saved in Yeedu."""

import json
from typing import Any

import pytest
from addressed import execute
from hypothesis import given
from hypothesis import strategies as st
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from operators.yeedu import YeeduOperator
from prefect_yeedu.runs.starting import RunRequest
from prefect_yeedu.wire.html_tables import read_tables

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
SHOW_PNG = (
    f"import base64\nfrom IPython.display import Image, display\ndisplay(Image(base64.b64decode('{PNG}')))"
)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Prefect's own sockets
def test_images_tables_and_progress_become_artifacts(mock: MockYeedu) -> None:
    html = "from IPython.display import HTML\nHTML('<table><tr><th>n</th></tr><tr><td>1</td></tr></table>')"
    notebook = mock.control("POST", "notebooks", json={"cells": [SHOW_PNG, html]})["notebook_id"]

    @flow
    def caller() -> None:
        YeeduOperator(
            mock.url(f"notebook/{notebook}"), "yeedu_connection_details", "yeedu_password"
        ).execute()

    state = caller(return_state=True)
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        found: dict[str, Any] = {str(one.type): one for one in client.read_artifacts(artifact_filter=wanted)}
    assert found["image"].data == f"data:image/png;base64,{PNG}"
    assert found["image"].key == f"yeedu-notebook-{notebook}-cell-1"
    assert json.loads(found["table"].data) == [{"n": "1"}]
    assert found["progress"].data == 100.0
    assert set(found) == {"image", "table", "progress", "markdown"}


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


def test_tables_are_read_from_html() -> None:
    html = """<style>td {}</style><table><thead><tr><th></th><th>a</th><th>a</th></tr></thead>
    <tr><td>0<td>x &amp; y<td><table><tr><td>in</td></tr></table></tr></table><table></table>"""
    assert read_tables(html) == [[{"1": "0", "a": "x & y", "a (3)": "in"}]]


@given(st.text(alphabet="<>/tabledhr \"'&;x", max_size=200))
def test_no_html_breaks_the_reader(html: str) -> None:
    assert isinstance(read_tables(html), list)
