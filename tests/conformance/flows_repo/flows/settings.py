import os

from prefect import flow


@flow(log_prints=True)
def settings(names: list[str]):
    for name in names:
        print(f"{name}={os.environ.get(name)}")
