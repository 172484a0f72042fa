from pathlib import Path

from prefect import flow


@flow(log_prints=True)
def revision():
    print(Path("REVISION").read_text().strip())
