"""Inspects the entrypoints of a clone, without running flow code in the deployer's own process."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pydantic import BaseModel, Field, JsonValue

from yeedu_deployer.errors import FlowError
from yeedu_deployer.inspection.confinement import hide_own_memory

ANSWER_TIMEOUT_SECONDS = 150  # two imports at their limit, and Prefect's own
STOP_TIMEOUT_SECONDS = 5
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")


@dataclass(frozen=True)
class Wanted:
    """An entrypoint to inspect, and what its runs get; `directory` is relative to the clone.

    `parameter_sets` are the deployment's parameters, then those of each schedule.
    """

    entrypoint: str
    parameter_sets: tuple[dict[str, JsonValue], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    directory: str = ""


class FlowFacts(BaseModel):
    """What was found out about an entrypoint's flow.

    `version` is one that the author chose. `parameter_errors` says for each set of parameters why it does not
    fit, and `notes` holds remarks on a flow that can still be registered; none ends in a full stop.
    """

    name: str
    description: str | None = None
    version: str | None = None
    parameter_schema: dict[str, JsonValue] = Field(default_factory=dict)
    parameter_errors: list[str | None] = Field(default_factory=list[str | None])
    notes: list[str] = Field(default_factory=list[str])


class _Answer(BaseModel):
    position: int
    flow: FlowFacts | None = None
    error: str | None = None


class FlowInspector:
    """A child process that imports flows; its environment holds `variables` and no secret.

    Entering starts it, so that it imports Prefect while the deployer does other work; leaving ends it. After
    a failure, the next request starts a new one.
    """

    _process: subprocess.Popen[bytes] | None = None

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})

    def __enter__(self) -> Self:
        hide_own_memory()
        self._home = tempfile.TemporaryDirectory(prefix="deployer-home-", ignore_cleanup_errors=True)
        self._start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stop()
        self._home.cleanup()

    def inspect(self, clone: Path, wanted: Sequence[Wanted]) -> list[FlowFacts | FlowError]:
        """Inspect entrypoints as a worker's run would find them; return the facts or the error of each.

        Raises `FlowError` if the child itself fails, since nothing is then known about any of them.
        """
        request = {
            "root": str(clone),
            "hidden": [
                value
                for name, value in os.environ.items()
                if value and name.endswith("_FILE") and "CERT" not in name
            ],
            "wanted": [asdict(one) for one in wanted],
        }
        found: dict[int, FlowFacts | FlowError] = {}
        answers = self._ask(json.dumps(request).encode() + b"\n", len(wanted))
        for answer in _shown(answers, len(wanted)):
            found[answer.position] = answer.flow or FlowError(f"{answer.error}.", "entrypoint")
        return [found[position] for position in range(len(wanted))]

    def _start(self) -> None:
        environment = self._variables | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= dict.fromkeys(("HOME", "TMPDIR"), self._home.name) | {
            "PREFECT_HOME": str(Path(self._home.name, "prefect")),
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PYTHONDONTWRITEBYTECODE": "1",
            "DO_NOT_TRACK": "1",
        }
        self._connection, theirs = socket.socketpair()
        self._connection.settimeout(ANSWER_TIMEOUT_SECONDS)
        self._answers: IO[bytes] = self._connection.makefile("rb")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child has ended
        with theirs:
            self._process = subprocess.Popen(
                # -P: no folder of a clone may shadow an installed package.
                [sys.executable, "-P", "-m", "yeedu_deployer.inspection.flow_loader"],
                cwd=self._home.name,
                env=environment,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
            )

    def _stop(self) -> str:
        """End the child and drop its late answers; return the last line of its errors."""
        if self._process is None:
            return ""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._answers.close()
        self._connection.close()
        with self._errors as errors:
            errors.seek(0)
            return (errors.read().decode(errors="replace").strip().splitlines() or ["it gave no reason"])[-1]

    def _ask(self, request: bytes, count: int) -> Iterator[_Answer]:
        if self._process is None:
            self._start()
        try:
            self._connection.sendall(request)
            for _ in range(count):
                yield _Answer.model_validate_json(self._answers.readline())
        except TimeoutError:
            self._stop()
            raise FlowError(f"No flow was imported within {ANSWER_TIMEOUT_SECONDS} seconds.") from None
        except (ConnectionError, ValueError):  # the child has ended, perhaps within a line
            reason = self._stop().rstrip(".")
            raise FlowError(f"The process that imports the flows failed: {reason}.") from None
        except BaseException:
            self._stop()  # its remaining answers must not be read
            raise


def _shown(answers: Iterator[_Answer], count: int) -> Iterator[_Answer]:
    """Pass answers on; on a terminal, count them on a line that disappears at the end."""
    if not sys.stderr.isatty():
        return answers
    from rich.console import Console  # only here, so that the child starts sooner
    from rich.progress import track

    return iter(track(answers, "Importing flows", count, console=Console(stderr=True), transient=True))
