from prefect import flow

from acme.words import WORD


@flow(name="from-src", log_prints=True)
def from_src():
    print(WORD)
