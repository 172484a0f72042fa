# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
import os
from datetime import timedelta
from pathlib import Path

import pandas as pd
from prefect import flow, task
from prefect.tasks import task_input_hash
from prefect_gcp.cloud_storage import GcsBucket

SOURCE = os.environ.get("COURSE_SOURCE", "http://localhost:8000")


@task(log_prints=True, retries=3, cache_key_fn=task_input_hash, cache_expiration=timedelta(days=1))
def fetch(dataset_url: str) -> pd.DataFrame:
    """Read taxi data from web into pandas DataFrame"""
    df = pd.read_parquet(dataset_url)
    print(f"rows: {len(df)}")
    return df


@task(log_prints=True)
def clean(df: pd.DataFrame, colour: str) -> pd.DataFrame:
    """Fix dtype issues"""
    prefix = "tpep" if colour == "yellow" else "lpep"
    df[f"{prefix}_pickup_datetime"] = pd.to_datetime(df[f"{prefix}_pickup_datetime"])
    df[f"{prefix}_dropoff_datetime"] = pd.to_datetime(df[f"{prefix}_dropoff_datetime"])
    print(df.head(2))
    print(f"columns: {df.dtypes}")
    return df


@task()
def write_local(df: pd.DataFrame, colour: str, dataset_file: str) -> Path:
    """Write DataFrame out locally as parquet file"""
    path = Path(f"{colour}/{dataset_file}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    df.to_parquet(path, compression="gzip")
    return path


@task()
def write_gcs(path: Path) -> None:
    """Upload local parquet file to GCS"""
    path = Path(path).as_posix()  # type: ignore[assignment]
    gcs_block = GcsBucket.load("zoom-gcs")
    gcs_block.upload_from_path(
        from_path=path, to_path=path)  # fmt: skip


@flow()
def etl_web_to_gcs(colour: str, year: int, month: int) -> None:
    """The main ETL function"""
    dataset_file = f"{colour}_tripdata_{year}-{month:02}"
    dataset_url = f"{SOURCE}/{dataset_file}.parquet"
    df = fetch(dataset_url)
    df_clean = clean(df, colour)
    path = write_local(df_clean, colour, dataset_file)
    write_gcs(path)


if __name__ == "__main__":
    etl_web_to_gcs("green", 2020, 1)
