"""Runs the tasks of a flow with many of them: in threads of its own process, or on Dask workers."""

import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from blocks import need

RunsOn = Literal["threads", "dask"]
Item = TypeVar("Item")

ADDRESS = "DASK_SCHEDULER_ADDRESS"  # Dask's own: a `distributed.Client()` without an address reads it, too
ANSWER_SECONDS = 30
HERE = Path(__file__).parent


class FanOutError(RuntimeError):
    """Tasks cannot run where they are meant to; the message says what to switch on."""


@contextmanager
def open_task_runner(runs_on: RunsOn, threads: int) -> Generator[TaskRunner[Any]]:
    """Open a task runner for the duration of a `with` block; tasks that still run then end with it.

    Dask means an existing scheduler. A cluster of this run's own would be inside its worker: it would use
    that worker's memory and processes, and start a new interpreter for each Dask worker.

    Args:
        runs_on: `threads` of this process, or `dask`.
        threads: The maximum number of threads. Prefect's own task runner starts one for every task.

    Raises:
        FanOutError: There is no scheduler, it does not answer, or it has no workers.
        MissingPackageError: This worker lacks prefect-dask.
    """
    if runs_on == "threads":
        with ThreadPoolTaskRunner[Any](max_workers=threads) as in_threads:
            yield in_threads
        return
    address = os.environ.get(ADDRESS, "")
    if not address:
        raise FanOutError(
            f"There is no Dask here, as {ADDRESS} is not set: switch it on as docs/fan-out.md says, "
            "or run the tasks in threads."
        )
    prefect_dask: Any = need("prefect_dask", "Running tasks on Dask", "dask")
    with (
        _sent_by_value(),
        prefect_dask.DaskTaskRunner(address=address, client_kwargs={"timeout": ANSWER_SECONDS}) as runner,
    ):
        try:
            runner.client.wait_for_workers(1, timeout=ANSWER_SECONDS)
        except TimeoutError:
            raise FanOutError(
                f"The Dask scheduler at {address} has no workers: look at the service dask-worker."
            ) from None
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise FanOutError(f"The Dask scheduler at {address} ({ADDRESS}) does not answer: {why}") from None
        yield runner


def map_over(runner: TaskRunner[Any], task: Task[..., Any], **inputs: Any) -> list[PrefectFuture[Any]]:
    """Run a task for each of many inputs with this task runner, as `task.map` does."""
    return runner.map(task, inputs)


def outcome(future: PrefectFuture[Any]) -> Any:
    """Wait for a task; return its result, or the exception that it ended with."""
    try:
        return future.result(raise_on_failure=False)
    except Exception as error:  # noqa: BLE001 - Dask's own, after this task killed three of its workers
        return error


def batches(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in order, `size` at a time; the last batch may be smaller."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


@contextmanager
def _sent_by_value() -> Generator[None]:
    """Send this folder's code along with each task: Dask workers have no clone of it."""
    pickling: Any = cloudpickle
    modules = [module for module in list(sys.modules.values()) if _is_ours(module)]
    for module in modules:
        pickling.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            pickling.unregister_pickle_by_value(module)


def _is_ours(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and module.__name__ in sys.modules and Path(str(file)).is_relative_to(HERE)
