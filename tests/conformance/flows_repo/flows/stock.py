from prefect import flow, task


@task(log_prints=True)
def count(shelf: str) -> int:
    print(f"counting {shelf}")
    return len(shelf)


@flow(name="Stock Level", description="What is on the shelves.", version="7", log_prints=True)
def stock(shelves: list[str] | None = None):
    print(sum(count(shelf) for shelf in shelves or ["a"]))
