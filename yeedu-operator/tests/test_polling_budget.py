"""What a job of an hour costs, counting every call; time passes only while the client waits."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from addressed import execute
from fake_clock import FakeClock
from scripted_yeedu import Call, ScriptedYeedu

from prefect_yeedu.runs.request import RunRequest

HOUR_SECONDS = 3600.0
RUN = "workspace/1/spark/job/run/9"
RUNS = "workspace/1/spark/job/runs"


@dataclass
class HourOfWork:
    """A job that runs for an hour and prints a line a second where it is said to."""

    yeedu: ScriptedYeedu
    clock: FakeClock
    looks: list[float] = field(default_factory=list)
    reads: dict[str, list[float]] = field(default_factory=dict)

    def look(self, call: Call) -> Any:
        self.looks.append(self.clock.time)
        return 200, {"run_status": "DONE" if self.clock.time >= HOUR_SECONDS else "RUNNING"}

    def log(self, stream: str, *, grows: bool) -> None:
        def read(call: Call) -> Any:
            self.reads.setdefault(stream, []).append(self.clock.time)
            return 200, b"x\n" * int(self.clock.time if grows else 0)

        self.yeedu.on("GET", f"{RUN}/log/{stream}", read)


@pytest.fixture
def work(yeedu: ScriptedYeedu) -> HourOfWork:
    yeedu.on("POST", "workspace/1/spark/job/run", (200, {"run_id": 9}))
    work = HourOfWork(yeedu, FakeClock())
    yeedu.on("GET", RUN, work.look)
    return work


def wait(work: HourOfWork, growing: tuple[str, ...]) -> list[float]:
    """Run the job, and return the gaps between the looks at it."""
    for stream in ("stdout", "stderr"):
        work.log(stream, grows=stream in growing)
    with work.yeedu.client(clock=work.clock) as client:
        assert execute(client, RunRequest()).state == "DONE"
    return [later - sooner for sooner, later in pairwise(work.looks)]


@pytest.mark.parametrize("growing", [(), ("stdout",), ("stdout", "stderr")])
def test_an_hour_costs_fewer_than_400_calls_and_little_delay(
    work: HourOfWork, growing: tuple[str, ...]
) -> None:
    gaps = wait(work, growing)
    assert len(work.yeedu.calls) < 400
    # A run that ends at some moment of the hour is noticed at the next look.
    assert sum(gap**2 for gap in gaps) / 2 / sum(gaps) <= 6.5
    assert max(gaps) <= 13.001
    for stream in growing:
        reads = work.reads[stream]
        assert max(later - sooner for sooner, later in pairwise(reads)) <= 120.001
        assert len([read for read in reads if read < 60]) >= 10
