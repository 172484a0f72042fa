"""The flows of DBOS: each is a workflow of steps. As a program, this is the application that runs them."""

import os
import threading
from datetime import datetime
from typing import Any

import work
from dbos import DBOS

NAME = "bench"


@DBOS.step()
def fibo(number: int) -> int:
    """Compute something."""
    return work.fibo(number)


@DBOS.step()
def long_step(step: int) -> None:
    """Work for a while."""
    work.long_step(step)


@DBOS.workflow(name="empty")
def empty() -> None:
    """Do nothing."""
    work.mark("empty")


@DBOS.workflow(name="tick")
def tick(_due: datetime, _context: Any) -> None:
    """Do nothing, every minute."""
    work.mark("tick")


@DBOS.workflow(name="light")
def light() -> None:
    """Run many steps that take no time, one after another."""
    for number in work.LIGHT:
        fibo(number)


@DBOS.workflow(name="heavy")
def heavy() -> None:
    """Run a few steps that take a while, one after another."""
    for number in work.HEAVY:
        fibo(number)


@DBOS.workflow(name="long")
def long() -> None:
    """Work for long enough to be killed."""
    for step in range(work.LONG_STEPS):
        long_step(step)


def main() -> None:
    """Run workflows until the process is ended."""
    DBOS(
        config={
            "name": NAME,
            "system_database_url": os.environ["BENCH_DATABASE"],
            "application_version": "1",
            "scheduler_polling_interval_sec": 2.0,
        }
    )
    DBOS.launch()
    DBOS.register_queue(NAME, worker_concurrency=10, polling_interval_sec=0.1)
    threading.Event().wait()


if __name__ == "__main__":
    main()
