"""Learns from a clone what each entrypoint is, without running flow code in the deployer's own process."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pydantic import BaseModel, Field, JsonValue, TypeAdapter

from yeedu_deployer.errors import FlowError

ANSWER_TIMEOUT_SECONDS = 600
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")


@dataclass(frozen=True)
class Wanted:
    """An entrypoint to import, and the sets of parameters that are to be checked against its flow."""

    entrypoint: str
    parameter_sets: tuple[dict[str, JsonValue], ...] = ()


class FlowFacts(BaseModel):
    """What importing an entrypoint told about its flow.

    Attributes:
        name: The flow's name.
        description: Its description, by default the function's docstring.
        version: The version that its author chose, if any.
        parameter_schema: Its parameters as JSON schema.
        parameter_errors: For each set of parameters why it does not fit, or None.
    """

    name: str
    description: str | None = None
    version: str | None = None
    parameter_schema: dict[str, JsonValue] = Field(default_factory=dict)
    parameter_errors: list[str | None] = Field(default_factory=list[str | None])


class _Answer(BaseModel):
    flow: FlowFacts | None = None
    error: str | None = None


_ANSWERS = TypeAdapter(list[_Answer])


class FlowInspector:
    """A child process that imports flows; its environment holds no secret.

    Entering starts it, so that it imports Prefect while the deployer does other things; leaving ends it.

    Args:
        variables: What flows find in their environment wherever they run.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="deployer-home-", ignore_cleanup_errors=True)
        environment = self._variables | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {
            "HOME": self._home.name,
            "PREFECT_HOME": str(Path(self._home.name, "prefect")),
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PYTHONDONTWRITEBYTECODE": "1",
            "DO_NOT_TRACK": "1",
        }
        self._process = subprocess.Popen(
            # -P: no folder of a clone stands in for an installed package.
            [sys.executable, "-P", "-m", "yeedu_deployer.inspection.flow_loader"],
            cwd=self._home.name,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._home.cleanup()

    def inspect(self, clone: Path, wanted: Sequence[Wanted]) -> list[FlowFacts | FlowError]:
        """Import entrypoints with the clone as the working directory, as a worker does.

        Returns:
            For each what was found, or the error that it gave, in the order asked for.

        Raises:
            FlowError: The child itself failed, so nothing is known about any of them.
        """
        request = {
            "root": str(clone),
            "wanted": [{"entrypoint": one.entrypoint, "parameters": one.parameter_sets} for one in wanted],
        }
        answers = _ANSWERS.validate_json(self._ask(json.dumps(request)))
        return [answer.flow if answer.flow else FlowError(f"{answer.error}.") for answer in answers]

    def _ask(self, request: str) -> bytes:
        writing, reading = self._process.stdin, self._process.stdout
        if writing is None or reading is None:
            raise FlowError("The process that imports the flows has no pipes.")
        try:
            writing.write(request.encode() + b"\n")
            writing.flush()
        except BrokenPipeError:
            raise FlowError(self._reason()) from None
        line = _read_line(reading, time.monotonic() + ANSWER_TIMEOUT_SECONDS)
        if line is None:
            raise FlowError(f"The flows could not be imported within {ANSWER_TIMEOUT_SECONDS} seconds.")
        if not line.endswith(b"\n"):
            raise FlowError(self._reason())
        return line

    def _reason(self) -> str:
        self._process.kill()
        stderr = self._process.communicate()[1].decode(errors="replace")
        last = (stderr.strip().splitlines() or ["it gave no reason"])[-1]
        return f"The process that imports the flows failed: {last.rstrip('.')}."


def _read_line(reading: IO[bytes], deadline: float) -> bytes | None:
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            return None
        part = os.read(reading.fileno(), 65536)
        if not part:
            return line
        line += part
    return line
