"""A worker whose server changes or goes away between a poll and its claims, which loses nothing by it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect_processes import STOCK, PrefectServer, commit

from tests.prefect_process import PrefectProcess

# Interpreters with Prefect start one after the other, and a server twice.
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

FLOW = """
from prefect import flow

@flow
def work():
    pass
"""
# Says what it has come to, and goes on at the next line of its input.
WORKER = """
import abc, sys
import anyio
from anyio.to_thread import run_sync
from yeedu_worker.draining import DrainingWorker

class Interrupted(DrainingWorker, abc.ABC):
    is_interrupted = False

    async def due_flow_runs(self):
        due = await super().due_flow_runs()
        if due and not self.is_interrupted:
            self.is_interrupted = True
            await tell("due")
        return due

async def tell(word):
    print(word, flush=True)
    await run_sync(sys.stdin.readline)

async def poll_once(worker):
    await worker.poll()
    with anyio.fail_after(60):
        while worker.active:
            await anyio.sleep(0.05)

async def main():
    options = {"name": "any", "work_pool_name": sys.argv[1], "limit": 1, "create_pool_if_not_found": False}
    async with Interrupted(**options) as worker:
        await worker.sync_with_backend()
        await poll_once(worker)
        await tell("free")
        await poll_once(worker)

anyio.run(main)
"""


@contextmanager
def interrupted_worker(
    server: PrefectServer, pool: str, folder: Path, interruption: Callable[[], object]
) -> Iterator[None]:
    """Run a worker that polls twice, and has room for one flow run.

    After its first poll something happens; its second one begins with the block, and it has ended after it.
    """
    with (
        (folder / "worker.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-c", WORKER, pool],
            env={**server.environment(folder / "home"), "PREFECT_CLIENT_MAX_RETRIES": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as worker,
    ):
        assert worker.stdin
        assert worker.stdout
        try:
            assert worker.stdout.readline() == "due\n"
            interruption()
            print(file=worker.stdin, flush=True)
            assert worker.stdout.readline() == "free\n", (folder / "worker.log").read_text()
            yield
            print(file=worker.stdin, flush=True)
            assert worker.wait(90) == 0, (folder / "worker.log").read_text()
        finally:
            worker.kill()


def deployed(server: PrefectServer, name: str, pool: str, folder: Path) -> str:
    commit(folder / "repository", {"flows.py": FLOW})
    return server.deploy(name, "flows.py:work", (folder / "repository").as_uri(), work_pool_name=pool)


def test_server_that_is_away_at_a_claim_ends_no_worker_and_the_run_is_claimed_later(tmp_path: Path) -> None:
    (home := tmp_path / "server").mkdir()
    with PrefectProcess(home) as process:
        server = PrefectServer(process.url, tmp_path)
        server.make_pool("away", STOCK)
        run = server.start_run(deployed(server, "work", "away", tmp_path))
        with interrupted_worker(server, "away", tmp_path, process.stop):
            process.start()
        assert server.state(run) == "COMPLETED"
    log = (tmp_path / "worker.log").read_text()
    assert log.count(f"flow run {run} is not claimed now, but by a later poll: ConnectError") == 1


def test_run_whose_deployment_is_deleted_before_its_claim_leaves_its_place_to_others(
    server: PrefectServer, tmp_path: Path
) -> None:
    server.make_pool("deleted", STOCK)
    first, other = (deployed(server, name, "deleted", tmp_path) for name in ("deleted", "other"))
    server.start_run(first)
    with interrupted_worker(server, "deleted", tmp_path, lambda: server.api.delete(f"deployments/{first}")):
        run = server.start_run(other)
    assert server.state(run) == "COMPLETED"
