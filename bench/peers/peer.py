"""Defines what a peer has to be able to do, and where its programs come from."""

import abc
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from bench.peers.running import Processes
from tests.environments import uv
from tests.platforms import wait_for

HERE = Path(__file__).parent
FLOWS = HERE / "flows"
ENVIRONMENTS = HERE.parents[1] / "build" / "peers"
RESOLVED_AT = "2026-11-29T00:00:00Z"  # versions not given in requirements are those of this moment
AT_ONCE = 10
PAUSE_SECONDS = 0.3  # between two polls for the end of runs, which cost the peer something


class RunFailedError(Exception):
    """A run ended in another state than it should."""


def all_must_be(state: str, found: list[str]) -> None:
    """Raise `RunFailedError`, with counts, if runs have ended in another state."""
    others = Counter(one for one in found if one != state)
    if others:
        counted = ", ".join(f"{other} ({count} of {len(found)})" for other, count in others.items())
        raise RunFailedError(counted if len(found) > 1 else next(iter(others)))


class Peer(abc.ABC):
    """A platform that runs flows, started fresh and only for this measurement.

    Its module's docstring says which settings it has, and whose advice they follow. Two rules hold for all:
    10 runs at a time, and nothing polls less often than this platform's worker (every 2 s).

    Args:
        folder: For everything that it writes. The flows append to files in `folder/marks`.

    Attributes:
        name: Its name in the table.
        key: Its name in `PEERS` and of its file in `requirements`.
        consists_of: Its parts, as the table names them.
        process_per_run: Whether each run has its own process.
        saturation_runs: How many runs keep it busy for about a minute.
        not_measured: Workloads that cannot be measured here, with the reasons.
    """

    name: ClassVar[str]
    key: ClassVar[str]
    consists_of: ClassVar[str]
    process_per_run: ClassVar[bool]
    saturation_runs: ClassVar[int]
    not_measured: ClassVar[dict[str, str]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        self.processes = Processes(folder)

    @property
    def version(self) -> str:
        """The measured version, from the first line of its requirements."""
        first = (HERE / "requirements" / f"{self.key}.txt").read_text(encoding="utf-8").splitlines()[0]
        return first.rpartition("==")[2]

    @abc.abstractmethod
    def start(self) -> None:
        """Start everything with an empty database, and return once it takes runs."""

    @abc.abstractmethod
    def trigger(self, flow: str) -> str:
        """Trigger a run of a flow through the peer's own API, and return the run's id."""

    @abc.abstractmethod
    def wait(self, runs: list[str], timeout_seconds: float) -> list[float]:
        """Wait for the runs; return each one's end in seconds since 1970, by the peer's own record.

        Raises:
            RunFailedError: One of them did not succeed.
        """

    @abc.abstractmethod
    def kill_worker(self) -> None:
        """Kill everything that runs the work, and restart it at once, as its supervisor would."""

    @abc.abstractmethod
    def start_ticks(self) -> None:
        """Schedule the flow `tick` for every minute."""

    def cpu_seconds(self) -> float:
        """Return what all processes and the database have used so far."""
        return self.processes.cpu_seconds()

    def stop(self) -> None:
        """End everything that was started, even if starting failed half-way."""
        self.processes.stop()

    def environment(self) -> dict[str, str]:
        """Return the environment variables of every process: the user's, without settings of any peer."""
        peers = ("AIRFLOW_", "CELERY_", "DAGSTER_", "DBOS_", "PREFECT_", "RESTATE_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(peers)}
        return kept | {
            "BENCH_MARKS": str(self.marks),
            "DO_NOT_TRACK": "1",
            "PATH": f"{self.installed() / 'bin'}:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.installed()),
            "TZ": "UTC",
        }

    def installed(self) -> Path:
        """Return the peer's virtual environment, creating it if it does not exist."""
        requirements = HERE / "requirements" / f"{self.key}.txt"
        recipe = requirements.read_text(encoding="utf-8") + RESOLVED_AT + sys.version
        folder = ENVIRONMENTS / f"{self.key}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
        complete = folder / "complete"
        if not complete.exists():
            uv("venv", "--clear", "--python", sys.executable, str(folder))
            python = ("--python", str(folder / "bin" / "python"))
            uv("pip", "install", *python, "--exclude-newer", RESOLVED_AT, "--requirement", str(requirements))
            complete.touch()
        return folder

    def until(self, what: str, look: Callable[[], object], timeout_seconds: float = 180) -> None:
        """Wait until `look` succeeds; until then it may fail to answer, but no process may end."""

        def answers() -> bool:
            self.processes.all_live()
            try:
                return bool(look())
            except OSError:  # requests' errors are of this kind
                return False

        wait_for(what, answers, timeout_seconds)
