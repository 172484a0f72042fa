"""The flow that `bench.many_tasks` runs: ``python many_tasks_flow.py threads|dask|batches COUNT``."""

import sys

from prefect import flow, task

from flows.fan_out import batches, map_over, open_task_runner, outcome

BATCH = 100
THREADS = 10


@task
def square(number: int) -> int:
    """Do the work of one item."""
    return number * number


@task
def squares(batch: list[int]) -> list[int]:
    """Do the work of many items."""
    return [number * number for number in batch]


@flow(name="fan-out")
def fan_out(way: str, count: int) -> int:
    """Square this many numbers, and add up the squares."""
    numbers = range(count)
    with open_task_runner("dask" if way == "dask" else "threads", THREADS) as runner:
        if way == "batches":
            parts = map_over(runner, squares, batch=list(batches(numbers, BATCH)))
            return sum(sum(outcome(part)) for part in parts)
        return sum(outcome(future) for future in map_over(runner, square, number=list(numbers)))


if __name__ == "__main__":
    total, items = fan_out(sys.argv[1], int(sys.argv[2])), int(sys.argv[2])
    if total != sum(number * number for number in range(items)):
        sys.exit(f"the sum is {total}")
