from prefect import flow
from warehouse.names import TABLE


@flow(log_prints=True)
def weekly():
    print(TABLE)
