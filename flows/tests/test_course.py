"""The flows of a data engineering course, run as its participants do: web, Google Cloud Storage, BigQuery."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from taxi_trips import SAMPLE_ROWS, Month, make_sample
from tests.blocks import save_block

COURSE = Path(__file__).parent / "course"
RunPython = Callable[..., Any]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[str]:
    """The address of a server with files of three months, in Parquet."""
    folder = tmp_path / "published"
    folder.mkdir()
    for number in (1, 2, 3):
        month = Month("green", 2020, number)
        (folder / f"{month.colour}_tripdata_2020-{number:02}.parquet").write_bytes(
            make_sample(month, "parquet")
        )
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has there
        """Be silent."""


@pytest.fixture
def clients(google: dict[str, str]) -> tuple[Any, Any]:
    """The course's two blocks; the storage and the BigQuery that they open."""
    credentials = save_block("gcp-credentials", "zoom-gcp-creds", service_account_info=google)
    storage, bigquery = credentials.get_cloud_storage_client(), credentials.get_bigquery_client()
    if not storage.lookup_bucket("prefect-zoomcamp-23"):
        storage.create_bucket("prefect-zoomcamp-23")
    save_block("gcs-bucket", "zoom-gcs", bucket="prefect-zoomcamp-23", gcp_credentials=credentials)
    return storage, bigquery


def run(run_python: RunPython, folder: Path, source: str, *arguments: str) -> str:
    process = run_python(*arguments, cwd=folder, COURSE_SOURCE=source, PYTHONPATH=str(COURSE))
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output[-4000:]
    return output


@pytest.mark.timeout(600)
def test_three_months_go_from_the_web_over_gcs_into_bigquery(
    clients: tuple[Any, Any], source: str, run_python: RunPython, tmp_path: Path
) -> None:
    storage, bigquery = clients
    output = run(run_python, tmp_path, source, str(COURSE / "parameterized_flow.py"))
    assert f"rows: {SAMPLE_ROWS}" in output
    names = {f"green/green_tripdata_2020-{month:02}.parquet" for month in (1, 2, 3)}
    assert {blob.name for blob in storage.list_blobs("prefect-zoomcamp-23")} == names
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["COMPLETED"]}}})
        )
    assert {run.parameters["month"] for run in runs if "month" in run.parameters} >= {1, 2, 3}
    (tmp_path / "elsewhere").mkdir()  # where no file is left of the first
    run(run_python, tmp_path / "elsewhere", source, str(COURSE / "etl_gcs_to_bq.py"))
    [[count, passengers]] = bigquery.query(
        "SELECT count(*), min(passenger_count) FROM dezoomcamp.trips"
    ).result()
    assert (count, passengers) == (SAMPLE_ROWS, 0)
