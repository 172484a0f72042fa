"""Learns from a clone what each entrypoint is, without running flow code in the deployer's own process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, JsonValue

from yeedu_deployer.errors import FlowError

INSPECTION_TIMEOUT_SECONDS = 600
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT")


class FlowFacts(BaseModel):
    """What importing an entrypoint told about its flow."""

    name: str
    description: str | None = None
    version: str | None = None
    parameter_schema: dict[str, JsonValue] = Field(default_factory=dict)


class _Answer(BaseModel):
    flow: FlowFacts | None = None
    error: str | None = None


@dataclass(frozen=True)
class Inspection:
    """What was found for one entrypoint: facts, or the error that it gave."""

    facts: FlowFacts | None
    error: FlowError | None


def inspect_flows(clone: Path, entrypoints: Iterable[str], scratch: Path) -> dict[str, Inspection]:
    """Import every entrypoint in a child process whose environment holds no secret.

    Args:
        clone: The repository's files; the child's working directory, as it is on a worker.
        entrypoints: Each `path/file.py:function`.
        scratch: A folder of this run for the child's home and Prefect's own files.

    Raises:
        FlowError: The child itself failed, so nothing is known about any entrypoint.
    """
    wanted = sorted(set(entrypoints))
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {
        "HOME": str(scratch),
        "PREFECT_HOME": str(scratch / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DO_NOT_TRACK": "1",
    }
    try:
        completed = subprocess.run(
            # -P: the clone's own folders must not stand in for installed packages.
            [sys.executable, "-P", "-m", "yeedu_deployer.flow_loader"],
            cwd=clone,
            env=environment,
            input=json.dumps(wanted),
            capture_output=True,
            encoding="utf-8",
            timeout=INSPECTION_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FlowError(
            f"The flows could not be imported within {INSPECTION_TIMEOUT_SECONDS} seconds."
        ) from None
    if completed.returncode:
        last = (completed.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise FlowError(f"The process that imports the flows failed: {last}.")
    answers = {name: _Answer.model_validate(value) for name, value in json.loads(completed.stdout).items()}
    return {
        name: Inspection(answer.flow, None if answer.error is None else FlowError(f"{answer.error}."))
        for name, answer in answers.items()
    }
