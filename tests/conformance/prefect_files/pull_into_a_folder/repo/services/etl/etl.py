from pathlib import Path

from prefect import flow


@flow(log_prints=True)
def etl():
    print(Path.cwd().name, Path("here.txt").exists())
