from prefect import flow


@flow(log_prints=True)
def orders(day: str = "today", rows: int = 1):
    """Count the orders of a day."""
    print(f"{rows} orders of {day}")
