"""The flows of Dagster: each step is an op. The run's own process runs all of them, one after another."""

from collections.abc import Callable
from typing import Any

from dagster import (
    Definitions,
    In,
    JobDefinition,
    Nothing,
    OpDefinition,
    ScheduleDefinition,
    graph,
    in_process_executor,
    op,
)
from work import HEAVY, LIGHT, LONG_STEPS, fibo, long_step, mark


def _op(name: str, function: Callable[..., Any], *arguments: Any) -> OpDefinition:
    @op(name=name, ins={"after": In(Nothing)})
    def step() -> None:
        function(*arguments)

    return step


def _job(name: str, steps: list[tuple[Any, ...]]) -> JobDefinition:
    ops = [_op(f"{name}_{place}", *step) for place, step in enumerate(steps)]

    @graph(name=f"{name}_graph")
    def chained() -> None:
        ended = None
        for one in ops:
            ended = one(ended) if ended else one()

    return chained.to_job(name, executor_def=in_process_executor)


tick = _job("tick", [(mark, "tick")])
definitions = Definitions(
    jobs=[
        _job("empty", [(mark, "empty")]),
        _job("light", [(fibo, number) for number in LIGHT]),
        _job("heavy", [(fibo, number) for number in HEAVY]),
        _job("long", [(long_step, step) for step in range(LONG_STEPS)]),
        tick,
    ],
    schedules=[ScheduleDefinition(name="every_minute", job=tick, cron_schedule="* * * * *")],
)
