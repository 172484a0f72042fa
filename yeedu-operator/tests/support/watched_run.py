"""A job's run that a test waits for in time that does not pass, and what is seen and recorded of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fake_clock import FakeClock
from scripted_yeedu import Answer, Call, ScriptedYeedu

from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.models import Generation, RunKind, RunState, YeeduResult
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.record import Ledger, Phase, Record, Resume
from prefect_yeedu.runs.remote_run import RemoteRun, RunListener
from prefect_yeedu.runs.wait_options import WaitOptions

JOB = "workspace/1/spark/job"
RUN = f"{JOB}/run/9"
STOP = f"{JOB}/run/stop/9"
GONE: Answer = (404, {"error_code": "RFA-000404", "error_message": "no such run"})


def state(word: str, **fields: Any) -> Answer:
    return 200, {"run_status": word, **fields}


class Listener(RunListener):
    """Keeps what it hears; `reason` is why the run is not wanted any more, if it is not.

    `has_successor` says that another wait follows when this one ends.
    """

    has_successor = False

    def __init__(self) -> None:
        self.states: list[RunState] = []
        self.lines: list[tuple[str, str]] = []
        self.troubles: list[str] = []
        self.reason: str | None = None

    def on_state(self, run: RemoteRun, state: RunState) -> None:
        self.states.append(state)

    def on_line(self, stream: Any, line: str) -> None:
        self.lines.append((stream, line))

    def on_trouble(self, text: str) -> None:
        self.troubles.append(text)

    def stop_reason(self) -> str | None:
        return self.reason

    def is_awaited_again(self, error: BaseException) -> bool:
        return self.has_successor


@dataclass
class WatchedRun:
    """Job run 9, which Yeedu has accepted already."""

    yeedu: ScriptedYeedu
    clock: FakeClock = field(default_factory=FakeClock)
    stop_clock: Any = field(default_factory=FakeClock)
    listener: Listener = field(default_factory=Listener)
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        for stream in ("stdout", "stderr"):
            self.yeedu.on("GET", f"{RUN}/log/{stream}", (200, b""))
        self.yeedu.on("GET", f"{RUN}/workflow/errors", (200, {"data": []}))
        self.yeedu.on("POST", STOP, (201, {}))
        self.ledger.open()
        self.ledger.note_submitted(9, "")

    @property
    def record(self) -> Record:
        return self.ledger.open(Resume.ALWAYS)

    @property
    def is_open(self) -> bool:
        """Whether whoever reads the record looks after the run."""
        return self.record.phase is not Phase.ENDED

    def run(self, **options: Any) -> JobRun:
        client = self.yeedu.client(clock=self.clock)
        return JobRun(
            RunAPI(client, 1, RunKind.JOB, Generation.V2, self.clock),
            9,
            options=WaitOptions(**options),
            listener=self.listener,
            ledger=self.ledger,
            stop_clock=self.stop_clock,
        )

    def wait(self, **options: Any) -> YeeduResult:
        run = self.run(**options)
        try:
            return run.wait()
        finally:
            run.api.client.close()

    def states(self, *answers: Answer | Callable[[Call], Answer]) -> None:
        """Say what is answered about the run, one look after the other."""
        self.yeedu.on("GET", RUN, *answers)

    def ends_when_stopped(self, word: str = "STOPPED") -> None:
        """Run until a stop is asked for."""
        self.states(lambda _: state(word if self.stops else "RUNNING"))

    @property
    def stops(self) -> int:
        """How often a stop was asked for."""
        return len(self.yeedu.called("POST", STOP))
