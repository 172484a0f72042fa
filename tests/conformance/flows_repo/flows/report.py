from prefect import flow


@flow(log_prints=True)
async def report(title: str):
    print(f"report: {title}")
