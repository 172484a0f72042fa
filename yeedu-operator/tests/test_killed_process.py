"""The process is killed anywhere; the flow run, started again, ends with the one remote run's result."""

from __future__ import annotations

import os
import random
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pytest
from killed_flow import FlowProcess, Work, killed, start_fork_server
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import SyncClientContext
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry
from scripted_yeedu import TENANT

from prefect_yeedu.flow_run.prefect_server import ask_prefect, retry_within

if TYPE_CHECKING:
    from uuid import UUID

    from mock_yeedu import MockYeedu

    from prefect_yeedu.client.client import YeeduClient

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(900),
]

# Half as many for notebooks as for jobs. The seeds are the same each time; another is given to look further.
POINTS = int(os.environ.get("YEEDU_KILL_POINTS", "4"))
FIRST_POINT = int(os.environ.get("YEEDU_KILL_FIRST_POINT", "0"))
AT_ONCE = int(os.environ.get("YEEDU_KILL_AT_ONCE", "4"))
SEED = os.environ["TEST_SEED"]


@dataclass(frozen=True)
class Kind:
    """What is killed.

    Attributes:
        route: Where its runs are.
        last_step: About how many moments before and after a call the flow has.
        lost_answers: Calls that Yeedu takes while its answer is lost; half of the points lose none.
        result: What the flow run ends with: standard output and cells.
    """

    name: str
    route: str
    last_step: int
    lost_answers: tuple[str, ...]
    result: tuple[str, list[str]]


JOB = Kind("job", "spark/job", 44, ("spark/job/run$", r"spark/job/run/\d+$"), ("result\n", []))
NOTEBOOK = Kind(
    "notebook",
    "notebook",
    86,
    ("notebook/run$", r"run/kill/\d+$", "/update$", "startOrGetStatus$"),
    ("", ["ok"] * 4),
)
# A job that runs out of memory on its own cluster, and ends well on another one.
FALLBACK = Kind("fallback", "spark/job", 74, ("spark/job/run$", "spark/job$"), ("result\n", []))
LAST_SECOND = 2.5
# A busy machine is no failure.
ANSWER_SECONDS = 300
RETRIES = retry_within(ANSWER_SECONDS)


@dataclass(frozen=True)
class Yeedu:
    """The mock, and one workspace of it, so that the faults of one point strike no other."""

    mock: MockYeedu
    client: YeeduClient
    kind: Kind

    @cached_property
    def workspace(self) -> int:
        return self._create("workspace")

    @cached_property
    def clusters(self) -> list[int]:
        return [self._create("cluster") for _ in range(2 if self.kind is FALLBACK else 1)]

    @cached_property
    def definition(self) -> int:
        """Add the job or notebook, on the first cluster; a fallback's is too small for it."""
        place: dict[str, Any] = {"workspace_id": self.workspace, "cluster_id": self.clusters[0]}
        if self.kind is FALLBACK:
            self.mock.control("PATCH", f"clusters/{self.clusters[0]}", json={"is_too_small": True})
        if self.kind is NOTEBOOK:
            cells = ["n = 1", "import time; time.sleep(0.3); n += 1", "n += 1", "assert n == 3"]
            return self.mock.control("POST", "notebooks", json={"cells": cells, **place})["notebook_id"]
        program = "import time; time.sleep(0.8); print('result')"
        return self.mock.control("POST", "jobs", json={"program": program, **place})["job_id"]

    @property
    def work(self) -> Work:
        kind = self.kind.route.rpartition("/")[2]
        address = f"{self.mock.base}/tenant/{TENANT}/workspace/{self.workspace}/{kind}/{self.definition}"
        return Work(address, self.clusters[1:])

    def lose_answer(self, path: str) -> None:
        """Have the next call of a path taken, and its answer lost."""
        fault = {"path": f"workspace/{self.workspace}/.*{path}", "drop": "after"}
        self.mock.control("POST", "faults", json=fault)

    def runs(self) -> list[dict[str, Any]]:
        """Return every run there ever was."""
        return self._read(f"{self.kind.route}/runs")["data"]

    def cluster(self) -> int:
        """Return the cluster on which the definition is now."""
        name = self.kind.route.rpartition("/")[2]
        return self._read(self.kind.route, **{f"{name}_id": self.definition})["cluster_id"]

    def _read(self, path: str, **query: int) -> dict[str, Any]:
        return self.client.get_object(f"workspace/{self.workspace}/{path}", f"for {path}", params=query)

    def _create(self, what: str) -> int:
        body = {"name": uuid.uuid4().hex}
        return self.client.call("POST", what, f"for a {what}", json=body).json()[f"{what}_id"]


def check_point(yeedu: Yeedu, number: int) -> str | None:
    """Kill a flow run's first attempts where a number says; return what is wrong at its end, if anything."""
    kind = yeedu.kind
    chance = random.Random(f"{SEED} {kind.name} {number}")
    lost = chance.choice(kind.lost_answers) if chance.random() < 0.5 else None
    if lost is not None:
        yeedu.lose_answer(lost)
    create = partial(SyncPrefectClient.create_flow_run, flow=killed, parameters={})
    flow_run_id = ask_prefect(create, "for a flow run", RETRIES).id
    try_again = partial(
        SyncPrefectClient.set_flow_run_state, flow_run_id=flow_run_id, state=AwaitingRetry(), force=True
    )
    story = [f"{kind.name} {number}", f"lost answer: {lost}"]
    try:
        for _ in range(1 if chance.random() < 0.75 else 2):
            story += [kill_once(chance, kind, yeedu.work, flow_run_id)]
            ask_prefect(try_again, "to try again", RETRIES)
        answer = FlowProcess(yeedu.work, flow_run_id).result(ANSWER_SECONDS)
    except AssertionError as error:
        return f"{'; '.join(story)}; {error}"
    print(*story, f"steps of the last attempt: {answer['steps']}", sep="; ")
    runs = yeedu.runs()
    # A run that was seen to run out of memory may be tried once more on its own cluster, but no other one.
    counting = [run["run_id"] for run in runs if kind is not FALLBACK or run["run_status"] != "ERROR"]
    found = (counting, answer["stdout"], answer["cells"], yeedu.cluster())
    wanted = ([answer["run_id"]], *kind.result, yeedu.clusters[0])
    return None if found == wanted else f"{'; '.join(story)}; {found} and not {wanted}, runs: {runs}"


def kill_once(chance: random.Random, kind: Kind, work: Work, flow_run_id: UUID) -> str:
    """Kill an attempt between two of its calls, or at any time."""
    step = chance.choice([0, chance.randint(1, kind.last_step)])
    process = FlowProcess(work, flow_run_id, step)
    if step:
        is_killed, where = process.wait_for_its_own_kill(ANSWER_SECONDS), f"at step {step}"
    else:
        seconds = chance.uniform(0, LAST_SECOND)
        is_killed, where = process.kill_after(seconds), f"after {seconds:.3f} s"
    return f"killed {where}" if is_killed else f"had ended {where}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("kind", "points"),
    [(JOB, POINTS), (NOTEBOOK, max(1, POINTS // 2)), (FALLBACK, max(1, POINTS // 2))],
    ids=["job", "notebook", "fallback"],
)
def test_one_remote_run_whenever_the_process_is_killed(mock: MockYeedu, kind: Kind, points: int) -> None:
    start_fork_server(str(PREFECT_API_URL.value()))
    with (
        SyncClientContext(httpx_settings={"timeout": ANSWER_SECONDS}),
        mock.client("job/1") as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        context = copy_context()  # holds the Prefect server's address, and one client for all

        def check(number: int) -> str | None:
            return context.copy().run(check_point, Yeedu(mock, client, kind), number)

        wrong = [text for text in pool.map(check, range(FIRST_POINT, FIRST_POINT + points)) if text]
    assert not wrong, "\n".join([f"TEST_SEED={SEED} kills there again:", *wrong])
