from prefect import flow

from warehouse.names import TABLE


@flow(log_prints=True)
def load(rows: int = 2):
    print(f"{rows} rows into {TABLE}")
