"""Child program: imports entrypoints, each in a forked process of its own, and prints what they are as JSON.

It runs with the clone as its working directory and without any secret in its environment, because flow code
is code that the deployer has not seen before. Input: a JSON list of entrypoints. Output: a JSON object that
maps each entrypoint to either `{"flow": …}` or `{"error": …}`.
"""

import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.hashing import file_hash

IMPORT_TIMEOUT_SECONDS = 60


def main() -> None:
    """Read entrypoints from standard input, and print what was found."""
    entrypoints: list[str] = json.load(sys.stdin)
    root = Path.cwd().resolve()
    print(json.dumps({entrypoint: _load_in_fork(entrypoint, root) for entrypoint in entrypoints}))


def _load_in_fork(entrypoint: str, root: Path) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _report_and_exit(entrypoint, root, writing)
    os.close(writing)
    try:
        answer = _read_until_closed(reading, time.monotonic() + IMPORT_TIMEOUT_SECONDS)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)  # harmless when it has ended: it is ours until it is waited for
        os.waitpid(child, 0)
    if answer is None:
        return {"error": f"{entrypoint} is still importing after {IMPORT_TIMEOUT_SECONDS} seconds"}
    try:
        return json.loads(answer)
    except ValueError:
        return {"error": f"{entrypoint} ended the Python process while it was imported"}


def _read_until_closed(reading: int, deadline: float) -> bytes | None:
    parts: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            return None
        part = os.read(reading, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return None


def _report_and_exit(entrypoint: str, root: Path, writing: int) -> None:
    # What flow code prints while it is imported must not mix with the answer.
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    try:
        answer = {"flow": _describe_flow(entrypoint)}
    except BaseException as error:  # noqa: BLE001 - flow code may raise anything, SystemExit included
        answer = {"error": explain(entrypoint, error, root)}
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(answer).encode())
    os._exit(0)


def _describe_flow(entrypoint: str) -> dict[str, Any]:
    path = Path(entrypoint.rpartition(":")[0])
    if not path.is_file():
        raise FileNotFoundError(entrypoint)
    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    # Prefect's default version is a hash of the file. It would be wrong at the next commit, since runs pull
    # their code from git, so only a version that the author chose is kept.
    chosen = flow.version if flow.version != file_hash(str(path)) else None
    return {
        "name": flow.name,
        "description": flow.description,
        "version": chosen,
        "parameter_schema": parameter_schema(flow).model_dump_for_openapi(),
    }


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
    text = " ".join(str(cause).split())[:300]
    if isinstance(cause, SyntaxError):
        where, text = (cause.filename or path, cause.lineno), cause.msg
    else:
        where = _innermost(cause, root)
    name = type(cause).__name__
    place = f" ({_relative(where[0], root)}, line {where[1]})" if where[1] else ""
    return f"{path}:{function} does not import: {name}: {text}{place}".replace(f"{name}: (", f"{name} (")


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
