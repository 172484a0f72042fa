"""Child program of `FlowInspector`: imports each entrypoint in its own forked process and describes it.

It has no secret in its environment, because the deployer has not seen the flow code yet. It imports Prefect
and common packages once, before the first request, so it can be started early; with two processors, it
imports two entrypoints at a time.
A request is a line `{"root": clone, "hidden": [path], "wanted": [Wanted]}`. One line answers each wanted
entrypoint, in any order: its position in the list, and what was found.
"""

import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from prefect.main import flow as flow_decorator
from prefect.utilities.callables import parameter_schema

from yeedu_deployer.inspection.confinement import SYSTEM, confine
from yeedu_deployer.inspection.flow_description import describe
from yeedu_worker.prefork.shelf import Shelf, import_groups

IMPORT_TIMEOUT_SECONDS = 60
IMPORTS_AT_A_TIME = min(os.cpu_count() or 1, 2)  # no more: a flow's packages may take 100 MB or more
ELSEWHERE = (
    "PYTHONPATH has {}, which a run takes from the folder where its process starts, not from the repository; "
    "put what is imported beside the flow, or import it from the repository's root"
)
# What many flows import: a fork gets each on import, unless the clone has a module of that name.
LATER = ("requests", "websocket", "prefect_yeedu", "operators.yeedu")


def main() -> None:
    """Answer each line of standard input until the input ends."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no fork is left behind
    # Imports what every flow needs here, once, rather than in each fork.
    parameter_schema(flow_decorator(name="warm-up")(_warm_up))
    shelf = Shelf(import_groups(LATER))
    shelf.take_away()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy the memory that it scans
    for line in sys.stdin:
        request = json.loads(line)
        os.chdir(request["root"])
        for answer in _answers(request, shelf):
            print(json.dumps(answer), flush=True)


def _warm_up(parameter: str = "") -> None:
    """Stand in for a flow with a parameter, for which Prefect imports more than for one without."""


@dataclass
class _Fork:
    """A process that imports an entrypoint, the leader of its own group, and the pipe from it."""

    position: int
    entrypoint: str
    pid: int
    reading: int
    deadline: float = field(default_factory=lambda: time.monotonic() + IMPORT_TIMEOUT_SECONDS)
    answer: bytearray = field(default_factory=bytearray)

    def read(self) -> dict[str, Any] | None:
        """Read what has arrived; return the answer once it is complete, or an error if it never will be."""
        part = os.read(self.reading, 65536)
        self.answer += part
        if part and not part.endswith(b"\n"):
            return None
        try:
            return json.loads(self.answer)
        except ValueError:
            return {"error": f"{self.entrypoint} ended the Python process while it was imported"}

    def end(self) -> None:
        """Kill the process and what it started, if they still run, and reap it."""
        os.close(self.reading)
        os.killpg(self.pid, signal.SIGKILL)  # its id stays in use until waitpid
        os.waitpid(self.pid, 0)


def _answers(request: dict[str, Any], shelf: Shelf) -> Iterator[dict[str, Any]]:
    """Import every entrypoint in a fork of its own; yield the answers as they come."""
    wanted: list[dict[str, Any]] = request["wanted"]
    left = list(enumerate(wanted))[::-1]
    running: dict[int, _Fork] = {}
    try:
        while left or running:
            while left and len(running) < IMPORTS_AT_A_TIME:
                fork = _fork(*left.pop(), request, shelf, list(running))
                running[fork.reading] = fork
            soonest = min(fork.deadline for fork in running.values())
            ready = select.select(list(running), [], [], max(0.0, soonest - time.monotonic()))[0]
            for fork in list(running.values()):
                answer = fork.read() if fork.reading in ready else None
                if answer is None and time.monotonic() >= fork.deadline:
                    late = f"{fork.entrypoint} is still importing after {IMPORT_TIMEOUT_SECONDS} seconds"
                    answer = {"error": f"{late}; move the work into the flow"}
                if answer is not None:
                    del running[fork.reading]
                    fork.end()
                    yield {**answer, "position": fork.position}
    finally:
        for fork in running.values():
            fork.end()


def _fork(
    position: int, wanted: dict[str, Any], request: dict[str, Any], shelf: Shelf, others: list[int]
) -> _Fork:
    reading, writing = os.pipe()
    child = os.fork()
    with suppress(PermissionError):  # it already leads its group and has become another program
        os.setpgid(child, child)  # in parent and child, since either may run first
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for pipe in (reading, *others):
            os.close(pipe)  # flow code must not read another flow's answer
        sys.meta_path.insert(0, shelf)  # pyright: ignore[reportArgumentType] - a finder by its shape
        _answer_and_exit(wanted, Path(request["root"]).resolve(), request["hidden"], writing)
    os.close(writing)
    return _Fork(position, wanted["entrypoint"], child, reading)


def _answer_and_exit(wanted: dict[str, Any], clone: Path, hidden: list[str], writing: int) -> NoReturn:
    # What flow code prints on import must not mix with the answer.
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    directory = clone / wanted["directory"]
    try:
        own = (str(clone), os.environ["HOME"], "/dev/shm", os.devnull)  # noqa: S108 - where semaphores are
        confine((*SYSTEM, sys.prefix, sys.base_prefix, *sys.path), own, hidden)
        if directory.is_dir():
            os.chdir(directory)
            elsewhere = _take_over(wanted["environment"])
            answer = describe(wanted["entrypoint"], wanted["parameter_sets"], clone)
            if elsewhere and "flow" in answer:
                answer["flow"]["notes"].append(ELSEWHERE.format(os.pathsep.join(elsewhere)))
        else:
            missing = f"the working directory {wanted['directory']!r} is not in the repository"
            answer = {"error": f"{missing}; write another"}
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(answer).encode() + b"\n")
    finally:
        os._exit(0)  # end this fork, whatever the flow code did to it


def _take_over(environment: dict[str, str]) -> list[str]:
    """Set a run's variables, and apply those that the interpreter reads only when it starts.

    Returns:
        The entries of PYTHONPATH that a run finds elsewhere, since its process starts before it has a clone.
    """
    os.environ.update(environment)
    time.tzset()
    paths = [Path(path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [str(path) for path in paths if path.is_absolute()]
    return [str(path) for path in paths if not path.is_absolute()]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        os._exit(0)
