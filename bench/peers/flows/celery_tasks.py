"""The flows of Celery: each is a task, or a chain of tasks."""

import os

import work
from celery import Celery, chain
from celery.schedules import crontab

BROKER = os.environ["BENCH_BROKER"]
app = Celery("bench", broker=BROKER, backend=BROKER)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    result_extended=True,
    timezone="UTC",
    beat_schedule={"tick": {"task": "mark", "schedule": crontab(), "args": ["tick"]}},
)


@app.task(name="mark")
def mark(flow: str) -> None:
    """Leave a mark."""
    work.mark(flow)


@app.task(name="fibo")
def fibo(number: int) -> None:
    """Compute something."""
    work.fibo(number)


@app.task(name="long-step")
def long_step(step: int) -> None:
    """Work for a while."""
    work.long_step(step)


FLOWS = {
    "empty": mark.si("empty"),
    "light": chain(fibo.si(number) for number in work.LIGHT),
    "heavy": chain(fibo.si(number) for number in work.HEAVY),
    "long": chain(long_step.si(step) for step in range(work.LONG_STEPS)),
}
