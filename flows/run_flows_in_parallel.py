"""Run several flows as subflows at the same time, and report how each of them ended."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas import actions, filters, objects
from prefect.client.schemas.objects import State
from prefect.events.schemas import events
from pydantic import BaseModel

# Prefect puts the flow file's folder on the import path, both from a git clone and from a local file.
from print_message import print_message
from run_shell_command import DEFAULT_COMMAND, end_running_commands, run_shell_command
from verify_file_names import verify_file_names


class SubflowError(RuntimeError):
    """At least one of the subflows did not complete."""


# When a subflow ends, it restores the print() that it found. This flow must log prints itself, so that the
# print() restored while other subflows still run is one that logs.
@flow(name="run-flows-in-parallel", log_prints=True)
def run_flows_in_parallel(
    message: str = "Hello from a subflow",
    command: str = DEFAULT_COMMAND,
    folder: str = "flows/content_files",
) -> dict[str, str]:
    """Print a message, run a shell command and verify file names, all three at the same time.

    Every subflow runs to its end, whatever happens to the others.

    Args:
        message: What the subflow print-message prints.
        command: What the subflow run-shell-command runs.
        folder: The folder whose file names the subflow verify-file-names verifies.

    Returns:
        The name of each subflow's final state, by the flow's name.

    Raises:
        SubflowError: At least one subflow did not complete; the message says which, and why.
    """
    states = run_subflows(
        {
            "print-message": partial(print_message, message, return_state=True),
            "run-shell-command": partial(run_shell_command, command, return_state=True),
            "verify-file-names": partial(verify_file_names, folder, return_state=True),
        }
    )
    for name, state in states.items():
        print(f"{name}: {state.name}")
    failed = {name: state for name, state in states.items() if not state.is_completed()}
    if failed:
        reasons = "; ".join(f"{name}: {state.message or state.name}" for name, state in failed.items())
        raise SubflowError(f"{len(failed)} of {len(states)} flows did not complete. {reasons}")
    return {name: state.name or state.type.value for name, state in states.items()}


def build_prefect_models() -> None:
    """Build the models of Prefect's client that are otherwise built on first use.

    Pydantic cannot build them safely in several threads at once: one thread may validate with the model's
    base class instead, which refuses all fields (``extra_forbidden``).
    """
    for module in (actions, events, filters, objects):
        for model in vars(module).values():
            if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel:
                model.model_rebuild(raise_errors=False)


def run_subflows(subflows: dict[str, Callable[[], State[Any]]]) -> dict[str, State[Any]]:
    """Call each in a thread with a copy of this flow run's context, which makes it a subflow of this run."""
    build_prefect_models()
    with ThreadPoolExecutor(max_workers=len(subflows)) as executor:
        futures: dict[str, Future[State[Any]]] = {
            name: executor.submit(copy_context().run, call) for name, call in subflows.items()
        }
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            # A cancellation arrives here, in the main thread; the other threads end when their commands do.
            # One of them may be about to start its command, so ending them once is not enough.
            while wait(futures.values(), timeout=0.2).not_done:
                end_running_commands()
            raise


if __name__ == "__main__":
    run_flows_in_parallel()
