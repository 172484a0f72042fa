from prefect import flow

raise RuntimeError("not on this machine")


@flow
def raises():
    print("never")
