"""What `prefect deploy --all` registers, the deployer registers likewise, or refuses in one sentence.

Two servers: one gets each file of `prefect_files` from Prefect's own command, in a checkout of the file's
repository, the other from the deployer, which has the file alone. Then what the servers hold is compared,
and (with LONG_TESTS=1) what a run of each deployment prints and how it ends. `pytest -s` prints the table.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.deploy_cases import POOL, Case, Workshop, Workspace, corpus
from tests.conformance.deploy_clis import Program
from tests.conformance.deploy_servers import Holdings, worker
from tests.conformance.deploy_tables import TABLES
from tests.conformance.deploy_verdicts import Ours, Stock, compare, deploy_with_ours, deploy_with_stock
from tests.prefect_process import PrefectProcess

pytestmark = pytest.mark.timeout(1500, func_only=False)

SEEN_BY_RUNS = ("parameters.", "pull_steps")
CASES = corpus()
# Every other one is left to LONG_TESTS=1, which tries them all.
IN_TURN = [
    pytest.param(name, marks=pytest.mark.long if position % 4 else ()) for position, name in enumerate(CASES)
]


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
        if hasattr(item, "callspec")
        and "name" in item.callspec.params
        and item.path == Path(__file__)
        and not any(item.iter_markers("skip"))
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


@pytest.mark.parametrize("name", IN_TURN)
def test_registers_what_stock_registers(name: str, deployed: dict[str, Future[Deployed]]) -> None:
    done = deployed[name].result()
    verdict = compare(done.case, done.place, done.stock, done.ours, TABLES)
    print(f"\n{verdict}")
    assert verdict.is_right, f"\n{verdict}\n{done.ours.output}"


Ending = tuple[str, list[str]]
Endings = dict[str, tuple[Ending, Ending]]


@pytest.fixture(scope="session")
def ended(bench: Bench, deployed: dict[str, Future[Deployed]]) -> dict[str, Endings]:
    """How one run of each deployment ended, and what it printed, of those that both servers have."""
    started: dict[str, dict[str, tuple[str, str]]] = {}
    stock, ours = bench.servers["stock"], bench.servers["ours"]
    everything = [future.result() for future in deployed.values()]
    for server in bench.servers.values():
        server.delete_runs()  # those that deploying has started
    with ExitStack() as stack:
        for done in everything:
            started[done.case.name] = {
                key: (
                    stock.start_run(done.stock.deployments[key], done.place.environment),
                    ours.start_run(done.ours.deployments[key], done.place.environment),
                )
                for key in to_run(done)
            }
        for name, server in bench.servers.items():
            folder = bench.folder / f"worker-{name}"
            folder.mkdir()
            stack.enter_context(worker(server.url, bench.environment(name), folder))
        pairs = [pair for keys in started.values() for pair in keys.values()]
        of_stock = stock.wait_for_runs([pair[0] for pair in pairs])
        of_ours = ours.wait_for_runs([pair[1] for pair in pairs])
    return {
        case: {key: (of_stock[pair[0]], of_ours[pair[1]]) for key, pair in keys.items()}
        for case, keys in started.items()
    }


def to_run(done: Deployed) -> list[str]:
    """Choose the deployments that run here; of those whose runs are the same, one."""
    if not done.case.setup.is_run:
        return []
    chosen: dict[str, str] = {}
    refused = TABLES.refused.get(done.case.name, {})  # one of two of the same name, for instance
    for key, deployment in done.stock.deployments.items():
        is_on_both = key in done.ours.deployments and deployment["name"] not in refused
        if is_on_both and deployment["work_pool_name"] == POOL:
            decides = ("entrypoint", "pull_steps", "parameters", "job_variables")
            chosen.setdefault(repr([deployment[field] for field in decides]), key)
    return list(chosen.values())


@pytest.mark.long
@pytest.mark.timeout(2400, func_only=False)
@pytest.mark.parametrize("name", CASES)
def test_a_run_ends_as_with_stock(
    name: str, deployed: dict[str, Future[Deployed]], ended: dict[str, Endings]
) -> None:
    done = deployed[name].result()
    meant = compare(done.case, done.place, done.stock, done.ours, TABLES).by_design
    different = {key: pair for key, pair in ended[name].items() if pair[0] != pair[1]}
    print(f"\n{name}: {len(ended[name])} runs on each server, {len(different)} of them different")
    # A run shows what it is given and where its code is from, and so a difference there that is meant.
    seen = {key for key, paths in meant.items() if any(path.startswith(SEEN_BY_RUNS) for path in paths)}
    assert not {key: pair for key, pair in different.items() if key not in seen}
