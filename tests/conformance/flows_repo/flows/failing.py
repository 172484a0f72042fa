from prefect import flow


@flow(log_prints=True)
def failing():
    print("before the failure")
    raise ValueError("there is nothing to load")
