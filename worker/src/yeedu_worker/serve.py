"""Polls the work pool until it is told to stop: ``python -m yeedu_worker.serve``; see ``--help``.

SIGTERM or SIGINT: it claims no more flow runs, lets those in flight go on for a while, and hands over what is
left. A second one: it hands them over at once. SIGUSR1: it claims no more flow runs, and lets those in flight
go on for as long as they need, whatever a first SIGTERM says afterwards (``make drain``).
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from typing import TYPE_CHECKING

import anyio
from prefect.settings import get_current_settings

from yeedu_worker.catch_up import catch_up_before_polling
from yeedu_worker.cleanup.stored_results import delete_old_results_hourly
from yeedu_worker.cleanup.temporary_files import clean_up_periodically, delete_orphaned_folders
from yeedu_worker.draining import Drained, DrainingWorker
from yeedu_worker.liveness import follow_watchdog, signal_liveness
from yeedu_worker.patches import keep_report, report
from yeedu_worker.patches.cancellations import Cancellations
from yeedu_worker.patches.process_worker import (
    guard_supervisors,
    insist_on_hooks,
    separate_process_groups,
)
from yeedu_worker.patches.repeated_work import remember_settings_variables, share_certificates
from yeedu_worker.patching import PatchRefusedError, left_out
from yeedu_worker.pool import LoginRefusedError, make_queues, wait_for_pool
from yeedu_worker.run_environment import guarded
from yeedu_worker.triggers import poll_when_triggered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SIGNALS = [signal.SIGTERM, signal.SIGINT]
if sys.platform != "win32":
    _SIGNALS.append(signal.SIGUSR1)


async def serve(
    worker: DrainingWorker, grace_seconds: float, liveness: int | None, keep_results_seconds: int = 0
) -> None:
    """Poll the work pool until a signal says to stop and no flow run is left.

    Args:
        worker: The worker.
        grace_seconds: How long flow runs may go on after the first signal.
        liveness: The file for the liveness signal; `None` without a watchdog.
        keep_results_seconds: How long persisted results are kept; 0 for ever.
    """
    cancellations = Cancellations()
    are_followed = cancellations.replace_observers()
    with anyio.open_signal_receiver(*_SIGNALS) as signals:
        async with anyio.create_task_group() as group:
            group.start_soon(_obey, worker, grace_seconds, signals)
            group.start_soon(poll_when_triggered, worker)
            if are_followed:
                group.start_soon(cancellations.follow)
            group.start_soon(delete_old_results_hourly, keep_results_seconds)
            group.start_soon(clean_up_periodically, worker, os.environ)
            if liveness is not None:
                group.start_soon(signal_liveness, worker, liveness)
            try:
                await worker.start(with_healthcheck=True)
            except* Drained:
                print("worker: stopped, and no flow run is left behind")
            group.cancel_scope.cancel()


async def _obey(worker: DrainingWorker, grace_seconds: float, signals: AsyncIterator[signal.Signals]) -> None:
    told = 0
    async for number in signals:
        if number not in (signal.SIGTERM, signal.SIGINT):
            worker.drain(math.inf)
            continue
        told += 1
        worker.drain(grace_seconds if told == 1 else 0)


def main() -> None:
    """Poll the work pool that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m yeedu_worker.serve")
    parser.add_argument("--pool", required=True, help="the work pool to poll")
    parser.add_argument("--name", required=True, help="the worker's name in the UI")
    parser.add_argument("--limit", required=True, type=int, help="the maximum number of concurrent flow runs")
    parser.add_argument(
        "--grace-seconds", required=True, type=float, help="how long flow runs may go on after SIGTERM"
    )
    parser.add_argument(
        "--work-queue", action="append", default=[], help="a queue of the pool; none means every queue"
    )
    parser.add_argument(
        "--keep-results-seconds", default=0, type=int, help="how long persisted results are kept; 0: for ever"
    )
    arguments = parser.parse_args()
    liveness = follow_watchdog(os.environ)
    if count := delete_orphaned_folders():
        print(f"worker: deleted {count} working folders of flow runs that were killed")
    try:
        insist_on_hooks()
    except PatchRefusedError as error:
        sys.exit(f"worker: {error}")
    states = report()  # before anything is replaced
    keep_report(states, os.environ)
    if line := left_out(states):
        print(f"worker: {line}")
    separate_process_groups()
    guard_supervisors(guarded)
    share_certificates()
    remember_settings_variables()
    try:
        wait_for_pool(arguments.pool)
    except LoginRefusedError as error:
        sys.exit(f"worker: {error}")
    make_queues(arguments.pool, arguments.work_queue)
    catch_up_before_polling(arguments.pool, arguments.name, arguments.work_queue)
    worker = DrainingWorker(
        name=arguments.name,
        work_pool_name=arguments.pool,
        work_queues=arguments.work_queue,
        limit=arguments.limit,
        create_pool_if_not_found=False,
        heartbeat_interval_seconds=int(get_current_settings().worker.heartbeat_seconds),
    )
    anyio.run(serve, worker, arguments.grace_seconds, liveness, arguments.keep_results_seconds)


if __name__ == "__main__":
    main()
