from prefect import flow
from prefect.blocks.system import Secret

WORD = Secret.load("is-word")


@flow(log_prints=True)
def asks():
    print(len(str(WORD.get())))
