"""Child program: imports entrypoints, each in a forked process of its own, and says what they are.

It runs without any secret in its environment, because flow code is code that the deployer has not seen yet.
It imports Prefect and what many flows import once, and then answers line by line, so it can be started early
and get ready meanwhile. Two entrypoints are imported at a time where there are two processors.
A request is `{"root": folder, "wanted": [{"entrypoint": ..., "parameters": [{...}, ...]}, ...]}`; the answer
is a list with `{"flow": {...}}` or `{"error": sentence}` for each.
"""

import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.main import flow as flow_decorator
from prefect.utilities.callables import parameter_schema
from prefect.utilities.hashing import file_hash
from prefect.utilities.schema_tools.validation import CircularSchemaRefError, ValidationError, validate

from yeedu_worker.missing_package import advice
from yeedu_worker.prefork.shelf import Shelf, import_groups

IMPORT_TIMEOUT_SECONDS = 60
IMPORTS_AT_A_TIME = min(os.cpu_count() or 1, 2)  # no more: a flow's packages may take 100 MB and more
# What many flows import: a fork gets each when it imports it, unless the clone has a module of that name.
LATER = ("requests", "websocket", "prefect_yeedu", "operators.yeedu")


def main() -> None:
    """Answer each line of standard input with one line, until the input ends."""
    # What every flow needs is imported here once, rather than in each fork.
    parameter_schema(flow_decorator(name="warm-up")(_warm_up))
    shelf = Shelf(import_groups(LATER))
    shelf.take_away()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy what it looks through
    for line in sys.stdin:
        request = json.loads(line)
        os.chdir(request["root"])
        print(json.dumps(_answer_each(request["wanted"], shelf)), flush=True)


def _warm_up(parameter: str = "") -> None:
    """Stand in for a flow with a parameter, for which Prefect imports more than for one without."""


@dataclass
class _Fork:
    """A process that imports an entrypoint.

    Attributes:
        entrypoint: What it imports.
        pid: Its process id.
        reading: The end of its pipe that the answer arrives at.
        deadline: When it has taken too long, on the monotonic clock.
        answer: What has arrived so far.
    """

    entrypoint: str
    pid: int
    reading: int
    deadline: float
    answer: bytearray = field(default_factory=bytearray)

    @property
    def result(self) -> dict[str, Any]:
        """What the whole answer says."""
        try:
            return json.loads(self.answer)
        except ValueError:
            return {"error": f"{self.entrypoint} ended the Python process while it was imported"}

    def end(self) -> None:
        """Clear away the process, whether it has ended or not."""
        os.close(self.reading)
        os.kill(self.pid, signal.SIGKILL)  # harmless when it has ended: it is ours until it is waited for
        os.waitpid(self.pid, 0)


def _answer_each(wanted: list[dict[str, Any]], shelf: Shelf) -> list[dict[str, Any]]:
    """Import every entrypoint in a fork of its own; the answers are in the order asked for."""
    answers: list[dict[str, Any]] = [{} for _ in wanted]
    left = list(enumerate(wanted))[::-1]
    running: dict[int, tuple[int, _Fork]] = {}
    try:
        while left or running:
            while left and len(running) < IMPORTS_AT_A_TIME:
                position, one = left.pop()
                fork = _fork(one["entrypoint"], one["parameters"], shelf, list(running))
                running[fork.reading] = (position, fork)
            soonest = min(fork.deadline for _, fork in running.values())
            ready = select.select(list(running), [], [], max(0.0, soonest - time.monotonic()))[0]
            for reading, (position, fork) in list(running.items()):
                part = os.read(reading, 65536) if reading in ready else None
                if part:
                    fork.answer += part
                elif part is not None:
                    answers[position] = fork.result
                elif time.monotonic() >= fork.deadline:
                    late = f"{fork.entrypoint} is still importing after {IMPORT_TIMEOUT_SECONDS} seconds"
                    answers[position] = {"error": late}
                if answers[position]:
                    fork.end()
                    del running[reading]
    finally:
        for _, fork in running.values():
            fork.end()
    return answers


def _fork(entrypoint: str, parameter_sets: list[dict[str, Any]], shelf: Shelf, others: list[int]) -> _Fork:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for pipe in (reading, *others):
            os.close(pipe)  # what another flow answers is none of this one's business
        sys.meta_path.insert(0, shelf)  # pyright: ignore[reportArgumentType] - a finder by its shape
        _answer_and_exit(entrypoint, parameter_sets, writing)
    os.close(writing)
    return _Fork(entrypoint, child, reading, time.monotonic() + IMPORT_TIMEOUT_SECONDS)


def _answer_and_exit(entrypoint: str, parameter_sets: list[dict[str, Any]], writing: int) -> NoReturn:
    # What flow code prints while it is imported must not mix with the answer.
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    root = Path.cwd().resolve()
    try:
        answer = {"flow": describe_flow(entrypoint, parameter_sets)}
    except BaseException as error:  # noqa: BLE001 - flow code may raise anything, SystemExit included
        answer = {"error": explain(entrypoint, error, root)}
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
    finally:
        os._exit(0)  # nothing of this fork may run on, whatever the flow code did to it


def describe_flow(entrypoint: str, parameter_sets: list[dict[str, Any]]) -> dict[str, Any]:
    """Import an entrypoint and describe its flow, as `inspection.FlowFacts`."""
    path = Path(entrypoint.rpartition(":")[0])
    if not path.is_file():
        raise FileNotFoundError(entrypoint)
    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    schema = parameter_schema(flow).model_dump_for_openapi()
    return {
        "name": flow.name,
        "description": flow.description,
        # Prefect's default version is a hash of the file. It would be wrong at the next commit, since runs
        # pull their code from git, so only a version that the author chose is kept.
        "version": flow.version if flow.version != file_hash(str(path)) else None,
        "parameter_schema": schema,
        "parameter_errors": [_parameter_error(values, schema) for values in parameter_sets],
    }


def _parameter_error(values: dict[str, Any], schema: dict[str, Any]) -> str | None:
    known = sorted(schema.get("properties", {}))
    for name in values:
        if name not in known:
            return f"the flow has no parameter {name!r}; it has {', '.join(known) or 'none'}"
    try:
        # The check that the server applies when a run is made.
        validate(values, schema, raise_on_error=True, ignore_required=True)  # pyright: ignore[reportArgumentType]
    except (ValidationError, CircularSchemaRefError) as error:
        return " ".join(str(error).split()).rstrip(".")
    return None


def explain(entrypoint: str, error: BaseException, root: Path) -> str:
    """Say in one sentence why an entrypoint gives no flow: file, function, cause and line.

    Args:
        entrypoint: `path/file.py:function`, relative to `root`.
        error: What the import raised.
        root: The clone; the innermost line inside of it is the one to name.
    """
    path, _, function = entrypoint.rpartition(":")
    if isinstance(error, FileNotFoundError) and str(error) == entrypoint:
        return f"{path} is not in the repository, so its function {function!r} cannot be deployed"
    if isinstance(error, MissingFlowError):
        if isinstance(error.__cause__, AttributeError):
            return f"{path} has no function {function!r}"
        return f"{function!r} in {path} is not a flow; decorate it with @flow"
    cause = error.user_exc if isinstance(error, ScriptError) else error
    name, text = type(cause).__name__, " ".join(str(cause).split())[:300]
    if isinstance(cause, SyntaxError):
        filename, line, text = cause.filename or path, cause.lineno, cause.msg
    else:
        filename, line = _innermost(cause, root)
    said = f"{name}: {text.rstrip('.')}" if text else name
    place = f" ({_relative(filename, root)}, line {line})" if line else ""
    what_to_do = advice(cause, root, (root / path).parent)
    return f"{path}:{function} does not import: {said}{place}{what_to_do and f'; {what_to_do}'}"


def _innermost(error: BaseException, root: Path) -> tuple[str, int | None]:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_absolute() and Path(frame.filename).resolve().is_relative_to(root)
    ]
    return (frames[-1].filename, frames[-1].lineno) if frames else ("", None)


def _relative(filename: str, root: Path) -> str:
    resolved = (root / filename).resolve()
    return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else Path(filename).name


if __name__ == "__main__":
    main()
