"""What `prefect deploy --all` registers, the deployer registers likewise, or refuses in one sentence.

Two servers: one gets each file of `prefect_files` from Prefect's own command, in a checkout of the file's
repository, the other from the deployer, which has the file alone. Then what the servers hold is compared, field
by field, and (with LONG_TESTS=1) what a run of each deployment prints and how it ends. `pytest -s` prints the
table.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.deploy_cases import Case, Workshop, Workspace, corpus
from tests.conformance.deploy_clis import Program
from tests.conformance.deploy_servers import Holdings
from tests.conformance.deploy_verdicts import (
    Design,
    Ours,
    Stock,
    Tables,
    compare,
    deploy_with_ours,
    deploy_with_stock,
)
from tests.prefect_process import PrefectProcess

pytestmark = pytest.mark.timeout(900, func_only=False)

GIT_CLONE = "prefect.deployments.steps.git_clone"
SET_WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"
OWN_CLONE = {GIT_CLONE: {"repository": "{{ $FLOWS_GIT_URL }}"}}


def is_clone_for_directory(stock: object, ours: object) -> bool:
    """Whether stock's own folder became a clone of the repository."""
    return stock == [{SET_WORKING_DIRECTORY: {"directory": "<checkout>"}}] and (
        isinstance(ours, list) and len(ours) == 1 and GIT_CLONE in ours[0]
    )


# Every difference that is meant; all others fail.
BY_DESIGN = (
    Design(
        r"pull_steps(\[0\].*)?",
        is_clone_for_directory,
        "stock writes the path of the deploying machine's checkout, where no worker of the platform is",
    ),
    Design(
        r"schedules\[\d+\]\.slug",
        lambda stock, ours: stock is None and str(ours).startswith("schedule-"),
        "a schedule without a slug is named by its position, so that it is found again when the file changes",
    ),
)
# What of stock's the deployer may refuse: by case and name, the word that its sentence must hold.
REFUSED: dict[str, dict[str, str]] = {}
# What stock refuses and the deployer registers, with the reason.
BEYOND: dict[str, str] = {}
TABLES = Tables(BY_DESIGN, REFUSED, BEYOND)
CASES = corpus()


@dataclass(frozen=True)
class Deployed:
    """One case on both servers."""

    case: Case
    place: Workspace
    stock: Stock
    ours: Ours


class Bench:
    """Two servers and the two programs."""

    def __init__(self, folder: Path, urls: dict[str, str]) -> None:
        self.workshop = Workshop(folder)
        self.servers = {name: Holdings(url) for name, url in urls.items()}
        self.folder = folder

    def environment(self, name: str) -> dict[str, str]:
        """What a process of one side is given: nothing of this one's but where programs are."""
        home = self.folder / f"home-{name}"
        home.mkdir(exist_ok=True)
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_API_URL": self.servers[name].url,
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            "COLUMNS": "1000",
            "DO_NOT_TRACK": "1",
            "LANG": "C.UTF-8",
            **self.workshop.environment,
        }

    def program(self, name: str, side: str) -> Program:
        folder = self.folder / name
        folder.mkdir()
        return Program(name, self.environment(side), folder)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    settings = {
        # Nothing happens by itself on either server.
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    }
    processes = {name: PrefectProcess(tmp_path_factory.mktemp(name), settings) for name in ("stock", "ours")}
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(PrefectProcess.start, processes.values()))
        yield Bench(tmp_path_factory.mktemp("bench"), {name: one.url for name, one in processes.items()})
    finally:
        for process in processes.values():
            process.stop()


@pytest.fixture(scope="session")
def deployed(request: pytest.FixtureRequest, bench: Bench) -> Iterator[dict[str, Future[Deployed]]]:
    """Every selected case, deployed on both servers; the two sides work at the same time."""
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if hasattr(item, "callspec") and "name" in item.callspec.params and item.path == Path(__file__)
    }
    cases = [case for name, case in CASES.items() if name in asked]
    for server in bench.servers.values():
        server.set_up([case.setup for case in cases])
    places = {case.name: bench.workshop.lay_out(case) for case in cases}
    with ExitStack() as stack:
        prefect, deployer = bench.program("prefect", "stock"), bench.program("deployer", "ours")
        stack.callback(prefect.stop)
        stack.callback(deployer.stop)
        sides = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2)]
        joined = stack.enter_context(ThreadPoolExecutor(4))
        futures = {}
        for case in cases:
            place = places[case.name]
            stock = sides[0].submit(deploy_with_stock, case, place, prefect, bench.servers["stock"])
            ours = sides[1].submit(deploy_with_ours, place, deployer, bench.servers["ours"])
            futures[case.name] = joined.submit(
                lambda *of: Deployed(*of[:2], of[2].result(), of[3].result()), case, place, stock, ours
            )
        yield futures


@pytest.mark.parametrize("name", CASES)
def test_registers_what_stock_registers(name: str, deployed: dict[str, Future[Deployed]]) -> None:
    done = deployed[name].result()
    verdict = compare(done.case, done.place, done.stock, done.ours, TABLES)
    print(f"\n{verdict}")
    assert verdict.is_right, f"\n{verdict}\n{done.ours.output}"
