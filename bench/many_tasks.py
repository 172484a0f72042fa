"""Measures the cost of many mapped tasks in threads, on Dask and in batches.

``python -m bench.many_tasks [COUNT]`` prints the table; the default is 10,000 items. Each way has its own
Prefect server (SQLite), so that rows and processor time are counted separately.
"""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.process_stats import usage
from tests.platforms import free_port, wait_for
from tests.prefect_process import PrefectProcess

ROOT = Path(__file__).parents[1]
FLOW = Path(__file__).with_name("many_tasks_flow.py")
COUNT, DASK_WORKERS = 10_000, 2
WAYS = ("threads", "dask", "batches of 100")
TABLES = ("task_run", "task_run_state", "events", "log")
SETTLE_SECONDS = 300

Figures = dict[str, float]


@contextmanager
def dask_processes(environment: dict[str, str]) -> Generator[tuple[str, list[int]]]:
    """Run a scheduler and Dask workers; yield the address and the process ids."""
    address = f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    scheduler = ["scheduler", "--host", host, "--port", port, "--dashboard-address", ":0"]
    worker = ["worker", f"tcp://{address}", "--no-nanny", "--nthreads", "1", "--dashboard-address", ":0"]
    with TemporaryDirectory() as folder, ExitStack() as stack:
        numbers: list[int] = []
        for arguments in (scheduler, *[worker] * DASK_WORKERS):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                env=environment,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            numbers.append(process.pid)
        yield f"tcp://{address}", numbers


def measure(way: str, count: int, folder: Path) -> Figures:
    """Run this many tasks in one way, and return what that took.

    Raises:
        RuntimeError: The flow failed.
    """
    folder.mkdir()
    with PrefectProcess(folder) as server, ExitStack() as stack:
        environment = server.environment | {
            "PREFECT_API_URL": server.url,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "flows")]),
        }
        numbers: list[int] = []
        if way == "dask":
            address, numbers = stack.enter_context(dask_processes(environment))
            environment["DASK_SCHEDULER_ADDRESS"] = address
        own = server_usage(server)
        began = time.monotonic()
        with (folder / "flow.log").open("wb") as log:
            command = [sys.executable, str(FLOW), way.partition(" ")[0], str(count)]
            flow = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            _, status, used = os.wait4(flow.pid, 0)
            flow.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if flow.returncode:
            raise RuntimeError((folder / "flow.log").read_text()[-2000:])
        rows = settled_rows(folder / "prefect.db")
        return {
            "seconds": seconds,
            "flow": used.ru_utime + used.ru_stime,
            "dask": sum(usage(number).cpu_seconds for number in numbers),
            "server": server_usage(server) - own,
            **{table: rows[table] / count for table in TABLES},
        }


def server_usage(server: PrefectProcess) -> float:
    """Return the processor seconds of the server, whose database is in its process."""
    return usage(server.pid).cpu_seconds


def settled_rows(file: Path) -> dict[str, int]:
    """Return each table's number of rows once it is stable: task runs are written with a delay."""
    last: dict[str, int] = {}

    def look() -> dict[str, int] | None:
        nonlocal last
        before, last = last, rows_of(file)
        return last if last == before else None

    return wait_for("end of the server's writing", look, SETTLE_SECONDS, 5)


def rows_of(file: Path) -> dict[str, int]:
    """Return each table's number of rows."""
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)
    try:
        return {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - our names
            for table in TABLES
        }
    finally:
        database.close()


def table(figures: dict[str, Figures], count: int) -> str:
    """Return a Markdown table with a line for each way."""
    heads = ["seconds", "CPU s, flow", "Dask", "server and database", *(f"rows in {name}" for name in TABLES)]
    lines = [f"| {count} items | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
    for way, row in figures.items():
        cells = [f"{value:.1f}" if name not in TABLES else f"{value:.2f}" for name, value in row.items()]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Rows are those for each item."])


def main() -> None:
    """Measure all ways, one after another, and print the table."""
    count = int(sys.argv[1]) if sys.argv[1:] else COUNT
    with TemporaryDirectory() as scratch:
        figures: dict[str, Figures] = {}
        for way in WAYS:
            print(f"{count} items: {way}", file=sys.stderr, flush=True)
            figures[way] = measure(way, count, Path(scratch) / way.partition(" ")[0])
    print(table(figures, count))


if __name__ == "__main__":
    main()
