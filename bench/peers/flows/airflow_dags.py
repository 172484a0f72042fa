"""The flows of Airflow: each step is a task."""

from datetime import timedelta

from airflow.sdk import DAG, chain, task
from work import HEAVY, LIGHT, LONG_STEPS, fibo, long_step, mark


def _dag(name: str, steps: list, schedule: str | None = None) -> DAG:
    with DAG(
        name,
        schedule=schedule,
        catchup=False,
        max_active_runs=10,
        is_paused_upon_creation=schedule is not None,
        default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
    ) as dag:
        tasks = [
            task(function, task_id=f"{function.__name__}_{place}")(*arguments)
            for place, (function, *arguments) in enumerate(steps)
        ]
        if len(tasks) > 1:
            chain(*tasks)
    return dag


empty = _dag("empty", [(mark, "empty")])
tick = _dag("tick", [(mark, "tick")], "* * * * *")
light = _dag("light", [(fibo, number) for number in LIGHT])
heavy = _dag("heavy", [(fibo, number) for number in HEAVY])
long = _dag("long", [(long_step, step) for step in range(LONG_STEPS)])
