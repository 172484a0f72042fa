"""Lakes in buckets, and files of either form: from an address over the lake into a warehouse."""

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from blocks import MissingPackageError, need
from flows.conftest import PROJECT
from lake import LakeError, open_lake, read_file, write_file
from load_taxi_trips import fetch_to_lake, load_taxi_trips
from taxi_trips import Month, TaxiDataError, clean_rows, make_sample
from tests.blocks import save_block
from tests.emulators import s3_server

Query = Callable[..., list[tuple[Any, ...]]]
pa: Any = need("pyarrow", "These tests")
parquet: Any = need("pyarrow.parquet", "These tests")
JANUARY = Month("yellow", 2021, 1)
PATH = "taxi_trips/yellow/yellow_tripdata_2021-01.parquet"


@pytest.fixture(scope="session")
def s3(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of an S3 of these tests' own, and the blocks that open it."""
    with s3_server(tmp_path_factory.mktemp("s3")) as address:
        credentials = save_block(
            "aws-credentials",
            "lake",
            aws_access_key_id="me",
            aws_secret_access_key="planted",
            region_name="us-east-1",
            aws_client_parameters={"endpoint_url": address},
        )
        client = credentials.get_s3_client()
        client.create_bucket(Bucket="lake")
        save_block("s3-bucket", "lake", bucket_name="lake", bucket_folder="raw", credentials=credentials)
        yield client


@pytest.fixture
def s3_lake(s3: Any) -> str:
    return "s3-bucket/lake"


@pytest.fixture
def gcs_lake(google: dict[str, str]) -> str:
    credentials = save_block("gcp-credentials", "lake", service_account_info=google)
    client = credentials.get_cloud_storage_client()
    if not client.lookup_bucket("taxi-lake"):
        client.create_bucket("taxi-lake")
    save_block("gcs-bucket", "lake", bucket="taxi-lake", bucket_folder="raw", gcp_credentials=credentials)
    return "gcs-bucket/lake"


@pytest.mark.parametrize("lake", ["s3_lake", "gcs_lake"])
def test_a_file_in_a_bucket_is_read_as_it_was_written(request: pytest.FixtureRequest, lake: str) -> None:
    files = open_lake(request.getfixturevalue(lake))
    content = make_sample(JANUARY, "parquet")
    for written in (b"older", content):
        write_file(files, PATH, written)
    assert read_file(files, PATH) == content


def test_parquet_goes_over_s3_into_a_database(
    s3: Any, s3_lake: str, query: Query, warehouse_url: str, file_server: Any
) -> None:
    file_server.body = make_sample(JANUARY, "parquet")
    url = warehouse_url.replace("postgresql://", "postgresql+psycopg2://")
    save_block(
        *("sqlalchemy-connector", "taxis"),
        connection_info=url,
        connect_args={"password": "planted-warehouse-password"},
    )
    [loaded] = load_taxi_trips(
        *([1], 2021, "yellow", file_server.template, s3_lake),
        warehouse="sqlalchemy-connector/taxis",
        refresh=True,
    )
    assert loaded["file"] == PATH
    assert s3.get_object(Bucket="lake", Key=f"raw/{PATH}")["Body"].read() == file_server.body
    in_csv = list(clean_rows(make_sample(JANUARY), JANUARY))
    [(rows, dollars)] = query("SELECT count(*), sum(total) FROM taxi_trips")
    assert rows == loaded["rows"] == len(in_csv)
    assert float(dollars) == pytest.approx(sum(float(row[-1]) for row in in_csv))


def test_parquet_goes_over_gcs_into_bigquery(google: dict[str, str], gcs_lake: str) -> None:
    credentials = save_block("gcp-credentials", "taxis", service_account_info=google)
    client = credentials.get_bigquery_client()
    client.create_dataset("taxis", exists_ok=True)
    options: Any = {"warehouse": "gcp-credentials/taxis/taxis", "sample_format": "parquet"}
    load_taxi_trips([1], 2021, "yellow", "", gcs_lake, **options)
    loaded = load_taxi_trips([1, 2], 2021, "yellow", "", gcs_lake, **options, return_state=True).result()
    assert loaded[0]["file"] == PATH
    names = {blob.name for blob in credentials.get_cloud_storage_client().list_blobs("taxi-lake")}
    assert names >= {f"raw/{month['file']}" for month in loaded}
    counted = f"SELECT month, count(*) FROM `{PROJECT}.taxis.taxi_trips` GROUP BY month ORDER BY month"
    assert [tuple(row) for row in client.query(counted).result()] == [
        (number, month["rows"]) for number, month in enumerate(loaded, 1)
    ]


def test_a_folder_of_a_bucket_is_uploaded_and_downloaded_as_documented(
    google: dict[str, str], gcs_lake: str, tmp_path: Path
) -> None:
    files: Any = open_lake(gcs_lake)
    (tmp_path / "january.parquet").write_bytes(make_sample(JANUARY, "parquet"))
    files.upload_from_path(from_path=tmp_path / "january.parquet", to_path="green/january.parquet")
    files.get_directory(from_path="green", local_path=str(tmp_path / "data" / "green"))
    downloaded = tmp_path / "data" / "green" / "january.parquet"
    assert downloaded.read_bytes() == (tmp_path / "january.parquet").read_bytes()


def _as_published() -> bytes:
    """Make a file with four rows and the types of the city's."""
    columns: dict[str, list[Any]] = {
        "tpep_pickup_datetime": [datetime.fromisoformat("2021-01-05 10:00")] * 4,
        "tpep_dropoff_datetime": [datetime.fromisoformat("2021-01-05 11:00")] * 4,
        "passenger_count": [1.0, None, float("nan"), 0.0],
        "trip_distance": [2.1] * 4,
        "PULocationID": [7] * 4,
        "DOLocationID": [8] * 4,
        "payment_type": [1.0, None, None, None],
        "fare_amount": [10.0] * 4,
        "tip_amount": [None, 1.0, 1.0, 1.0],
        "tolls_amount": [0.0] * 4,
        "total_amount": [20.919999999999998] * 4,
        "airport_fee": [None] * 4,
    }
    file = BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def test_parquet_is_cleaned_as_csv_is() -> None:
    assert list(clean_rows(_as_published(), JANUARY)) == [
        [
            *("2021-01-05 10:00:00", "2021-01-05 11:00:00", "1", "2.10", "7", "8"),
            *("1", "10", "", "0", "20.92"),
        ]
    ]


def test_parquet_is_read_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(clean_rows(make_sample(JANUARY, "parquet"), JANUARY))
    monkeypatch.setattr("taxi_trips.BATCH_ROWS", 7)
    sizes: list[int] = []
    batches = parquet.ParquetFile.iter_batches

    def counted(file: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        for batch in batches(file, *arguments, **options):
            sizes.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", counted)
    assert list(clean_rows(make_sample(JANUARY, "parquet"), JANUARY)) == whole
    assert max(sizes) == 7


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PAR1 and nothing else", "yellow_tripdata_2021-01.parquet cannot be read: "),
        (make_sample(JANUARY, "parquet")[:-9], "yellow_tripdata_2021-01.parquet cannot be read: "),
        (
            make_sample(Month("green", 2021, 1), "parquet"),
            "yellow_tripdata_2021-01.parquet is no file of yellow taxi trips: it has no column tpep_",
        ),
    ],
)
def test_a_parquet_file_of_something_else_is_named(content: bytes, sentence: str) -> None:
    with pytest.raises(TaxiDataError) as caught:
        list(clean_rows(content, JANUARY))
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_worker_without_the_packages_says_how_to_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_sample(JANUARY, "parquet")
    for module in ("pyarrow", "prefect_aws"):
        monkeypatch.setitem(sys.modules, module, None)
    remedy = ": set WORKER_EXTRAS=etl, see docs/packages.md."
    with pytest.raises(MissingPackageError, match=f"and reading it needs pyarrow{remedy}"):
        list(clean_rows(content, JANUARY))
    with pytest.raises(MissingPackageError, match=f"A sample in Parquet needs pyarrow{remedy}"):
        fetch_to_lake.fn(JANUARY, "", "", "parquet")
    with pytest.raises(MissingPackageError, match=f"The block 's3-bucket/lake' needs prefect-aws{remedy}"):
        open_lake("s3-bucket/lake")


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ("lake", "'lake' names no block; give its type and name, such as 's3-bucket/lake'"),
        ("gcs-bucket/none", "The block 'gcs-bucket/none' cannot be loaded: Unable to find block document"),
    ],
)
def test_a_lake_that_is_not_there_is_one_sentence(prefect_server: str, block: str, sentence: str) -> None:
    with pytest.raises(LakeError) as caught:
        open_lake(block)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


WITHOUT_EXTRAS = """
import importlib, sys
for missing in ("pandas", "pyarrow", "google", "prefect_aws", "prefect_gcp", "prefect_sqlalchemy"):
    sys.modules[missing] = None
for flow in sys.argv[1:]:
    importlib.import_module(flow)
"""


def test_every_flow_imports_without_the_packages(run_python: Callable[..., Any]) -> None:
    folder = Path(__file__).parents[1]
    names = sorted(file.stem for file in folder.glob("*.py") if file.stem != "conftest")
    process = run_python("-c", WITHOUT_EXTRAS, *names, cwd=folder)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
