from common.words import WORD
from prefect import flow


@flow(log_prints=True)
def uses_common():
    print(WORD)
