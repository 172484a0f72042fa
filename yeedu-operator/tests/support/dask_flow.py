"""A flow whose task calls Yeedu in a Dask worker, which imports this module to find it."""

from pooled_flow import run_once
from prefect import flow
from prefect_dask.task_runners import DaskTaskRunner


@flow(name="on-dask")
def on_dask(url: str, scheduler: str) -> int | None:
    with DaskTaskRunner(address=scheduler) as runner:
        return runner.submit(run_once, {"url": url}).result()  # pyright: ignore[reportArgumentType]
