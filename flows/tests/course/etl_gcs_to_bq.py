# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
from pathlib import Path

import pandas as pd
import pandas_gbq
from prefect import flow, task
from prefect_gcp import GcpCredentials
from prefect_gcp.cloud_storage import GcsBucket


@task(retries=3)
def extract_from_gcs(colour: str, year: int, month: int) -> Path:
    """Download trip data from gcs"""
    gcs_path = f"{colour}/{colour}_tripdata_{year}-{month:02}.parquet"
    Path(f"./data/{colour}").mkdir(parents=True, exist_ok=True)
    gcs_block = GcsBucket.load("zoom-gcs")
    gcs_block.get_directory(from_path=gcs_path, local_path=f"./data/")  # noqa: F541
    return Path(f"./data/{gcs_path}")


@task(log_prints=True)
def transform(path: Path) -> pd.DataFrame:
    """Data cleaning example"""
    df = pd.read_parquet(path)
    print(f"pre: missing passenger count: {df['passenger_count'].isna().sum()}")
    df["passenger_count"] = df["passenger_count"].fillna(0)
    print(f"post: missing passenger count: {df['passenger_count'].isna().sum()}")
    return df


@task()
def write_bq(df: pd.DataFrame) -> None:
    """Write DataFrame to BiqQuery"""

    gcp_credentials_block = GcpCredentials.load("zoom-gcp-creds")
    pandas_gbq.to_gbq(
        df,
        destination_table="dezoomcamp.trips",
        project_id="zoomcamp-376919",
        credentials=gcp_credentials_block.get_credentials_from_service_account(),
        chunksize=500_000,
        if_exists="append",
    )


@flow()
def etl_gcs_to_bq(colour: str = "green", year: int = 2020, month: int = 1) -> None:
    """Main ETL flow to load data into Big Query"""
    path = extract_from_gcs(colour, year, month)
    df = transform(path)
    write_bq(df)


if __name__ == "__main__":
    etl_gcs_to_bq()
