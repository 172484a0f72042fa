from prefect import flow


@flow(log_prints=True)
def score():
    print("score")
