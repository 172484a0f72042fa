from prefect import flow


@flow(log_prints=True)
def spaced():
    print("spaced")
