"""The flows of a data engineering course on the platform: committed, deployed twice, started in the UI."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.emulators import bigquery_server, gcs_server
from tests.google_account import service_account
from tests.platforms import (
    JSON,
    OUTPUT,
    ROOT,
    LocalPlatform,
    brought_up,
    commit,
    copy_checkout,
    free_port,
    wait_for,
)

pytestmark = [pytest.mark.long, pytest.mark.browser, pytest.mark.xdist_group("platform")]

PROJECT, BUCKET = "zoomcamp-376919", "prefect-zoomcamp-23"
MONTHS = (1, 2, 3)
DEPLOYMENT = """
  - name: {name}
    entrypoint: course/{entrypoint}
    parameters: {parameters}
    work_pool:
      name: yeedu-pool
      job_variables:
        env:
          STORAGE_EMULATOR_HOST: {storage}
          BIGQUERY_EMULATOR_HOST: {bigquery}
          COURSE_SOURCE: {source}
    schedules: {schedules}
"""
NIGHTLY = '[{slug: nightly, cron: "0 0 * * *", timezone: America/New_York}]'
MAKE_FILE = """
import sys
from taxi_trips import Month, make_sample

colour, month = sys.argv[1], int(sys.argv[2])
sys.stdout.buffer.write(make_sample(Month(colour, 2020, month), "parquet"))
"""


@dataclass
class Course:
    """The platform with the course's flows, and what they load into."""

    platform: LocalPlatform
    storage: Any
    bigquery: Any


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with a file for each month of both colours."""
    folder = tmp_path_factory.mktemp("published")
    for colour in ("green", "yellow"):
        for month in MONTHS:
            made = subprocess.check_output(
                [sys.executable, "-c", MAKE_FILE, colour, str(month)], cwd=ROOT / "flows"
            )
            (folder / f"{colour}_tripdata_2020-{month:02}.parquet").write_bytes(made)
    port = free_port()
    with (folder.parent / "published.log").open("w") as log:
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory, published: str) -> Iterator[Course]:
    folder = tmp_path_factory.mktemp("course")
    copy_checkout(folder / "yeedu-prefect")
    platform = LocalPlatform(folder / "yeedu-prefect")
    platform.environment["WORKER_EXTRAS"] = "etl"
    with (
        service_account(PROJECT) as key,
        gcs_server(folder) as storage,
        bigquery_server(folder, PROJECT) as bigquery,
        pytest.MonkeyPatch.context() as patch,
        brought_up(platform, "course.log"),
    ):
        patch.setenv("STORAGE_EMULATOR_HOST", storage)
        patch.setenv("BIGQUERY_EMULATOR_HOST", bigquery)
        platform.stop_schedules()
        made = _make_block(platform, "gcp-credentials", "zoom-gcp-creds", {"service_account_info": key})
        reference = {"$ref": {"block_document_id": made}}
        _make_block(platform, "gcs-bucket", "zoom-gcs", {"bucket": BUCKET, "gcp_credentials": reference})
        with temporary_settings({PREFECT_API_URL: platform.api.url}):
            credentials: Any = Block.load("gcp-credentials/zoom-gcp-creds")
        clients = credentials.get_cloud_storage_client(), credentials.get_bigquery_client()
        clients[0].create_bucket(BUCKET)
        _deploy(platform, {"storage": storage, "bigquery": bigquery, "source": published})
        yield Course(platform, *clients)


def _make_block(platform: LocalPlatform, kind: str, name: str, data: JSON) -> str:
    """Make a block as the UI does, of a type that the server has had since its start, and return its id."""
    kind_id = platform.api.get(f"block_types/slug/{kind}")["id"]
    schemas = platform.api.post(
        "block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind_id]}}}
    )
    body = {"name": name, "data": data, "block_type_id": kind_id, "block_schema_id": schemas[0]["id"]}
    return platform.api.post("block_documents/", body)["id"]


def _deploy(platform: LocalPlatform, addresses: dict[str, str]) -> None:
    """Commit the course's folder, and register its parent flow once for each colour."""
    shutil.copytree(ROOT / "flows" / "tests" / "course", platform.checkout / "course")
    file = platform.checkout / "deployer" / "prefect.yaml"
    parent = "parameterized_flow.py:etl_parent_flow"
    entries = [
        ("etl-green", parent, "{months: [1, 2, 3], colour: green}", NIGHTLY),
        ("etl-yellow", parent, "{months: [1, 2, 3], colour: yellow}", NIGHTLY),
        ("etl-gcs-to-bq", "etl_gcs_to_bq.py:etl_gcs_to_bq", "{}", "[]"),
    ]
    with file.open("a", encoding="utf-8") as text:
        for name, entrypoint, parameters, schedules in entries:
            values = {"name": name, "entrypoint": entrypoint, "parameters": parameters}
            text.write(DEPLOYMENT.format(**values, schedules=schedules, **addresses))
    commit(platform.checkout, "Add the course's flows")
    done = platform.deploy()
    assert done.returncode == 0, done.stdout + done.stderr


def _started(platform: LocalPlatform, name: str) -> list[JSON]:
    """Return the runs of a deployment that no schedule asked for, oldest first."""
    return [run for run in platform.api.runs(name) if not run["auto_scheduled"]]


@pytest.mark.timeout(600)
def test_both_colours_go_over_gcs_into_bigquery(course: Course, browser: Browser) -> None:
    platform = course.platform
    for name in ("etl-green", "etl-yellow"):  # the deployer starts a new schedule's first run
        [first] = wait_for(f"first run of {name}", lambda name=name: _started(platform, name), 30)
        run = platform.api.finished(first["id"], 200)
        assert run["state_type"] == "COMPLETED", platform.api.log(first["id"])
    page = browser.new_page(viewport={"width": 1280, "height": 1100}, color_scheme="light")
    page.goto(f"{platform.address}/deployments", wait_until="networkidle")
    page.get_by_role("link", name="etl-green", exact=True).click()
    page.wait_for_url("**/deployments/deployment/**")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Quick run").click()
    [started] = wait_for("quick run", lambda: _started(platform, "etl-green")[1:], 30)
    assert platform.api.finished(started["id"], 200)["state_type"] == "COMPLETED"
    page.goto(f"{platform.address}/runs/flow-run/{started['id']}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=90_000)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / "course.png")
    page.close()

    objects = {blob.name for blob in course.storage.list_blobs(BUCKET)}
    colours = ("green", "yellow")
    assert objects == {f"{c}/{c}_tripdata_2020-{month:02}.parquet" for c in colours for month in MONTHS}
    for month in MONTHS:
        run_id = platform.api.start("etl-gcs-to-bq", {"colour": "green", "year": 2020, "month": month})
        assert platform.api.finished(run_id, 200)["state_type"] == "COMPLETED", platform.api.log(run_id)
    months = "SELECT EXTRACT(MONTH FROM lpep_pickup_datetime) AS month, count(*) FROM dezoomcamp.trips"
    rows = course.bigquery.query(f"{months} GROUP BY month ORDER BY month").result()
    assert [number for number, count in rows if count > 900] == list(MONTHS)
