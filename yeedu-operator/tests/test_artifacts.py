"""What a notebook shows becomes artifacts; what its cells made is saved in Yeedu."""

from typing import Any

import pytest
from addressed import execute
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from operators.yeedu import YeeduOperator
from prefect_yeedu.runs.request import RunRequest

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
