"""The flows of stock Prefect and of this platform."""

from prefect import flow, task
from work import HEAVY, LIGHT, LONG_STEPS, fibo, long_step, mark

one_fibo = task(fibo, name="fibo")
one_long_step = task(long_step, name="long-step")


@flow
def empty() -> None:
    """Do nothing."""
    mark("empty")


@flow
def tick() -> None:
    """Do nothing, every minute."""
    mark("tick")


@flow
def light() -> None:
    """Run many tasks that take no time, one after another."""
    for number in LIGHT:
        one_fibo(number)


@flow
def heavy() -> None:
    """Run a few tasks that take a while, one after another."""
    for number in HEAVY:
        one_fibo(number)


@flow
def long() -> None:
    """Work for long enough to be killed."""
    for step in range(LONG_STEPS):
        one_long_step(step)
