"""What docs/pools.md says of limits on task runs with a tag."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client

TAG = "warehouse"


@dataclass
class Inside:
    """Who is inside the task; the first two wait there for each other, which shows that two are let in."""

    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    two: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))


@pytest.fixture
def limited_to_two(prefect_server: str) -> Iterator[None]:
    with get_client(sync_client=True) as client:
        client.create_concurrency_limit(TAG, 2)
        yield
        client.delete_concurrency_limit_by_tag(TAG)


@pytest.mark.long  # a task run that has to wait asks again after 30 s
@pytest.mark.timeout(180)
def test_two_task_runs_with_the_tag_run_at_a_time_and_the_others_wait(limited_to_two: None) -> None:
    inside = Inside()

    @task(tags=[TAG])
    def load(number: int) -> int:
        with inside.lock:
            inside.now += 1
            inside.most = max(inside.most, inside.now)
        inside.two.wait(60)
        with inside.lock:
            inside.now -= 1
        return number

    @flow
    def load_all() -> list[int]:
        return load.map([1, 2, 3, 4]).result()

    assert load_all() == [1, 2, 3, 4]
    assert inside.most == 2
