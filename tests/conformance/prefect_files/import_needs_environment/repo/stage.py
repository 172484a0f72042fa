import os

from prefect import flow

STAGE = os.environ["STAGE"]


@flow(name="by-stage", log_prints=True)
def by_stage(stage: str = STAGE):
    print(stage)
