from helpers import WORD
from prefect import flow


@flow(log_prints=True)
def nightly():
    print(WORD)
