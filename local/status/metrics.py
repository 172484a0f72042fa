"""The figures of ``make status``: flow runs by state, the scheduler's last run, the size of the data."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.api import ApiUnavailableError, PrefectApi
from local.backup.databases import read_only
from local.containers.engine import Project

JSON = dict[str, Any]
STATES: dict[str, JSON] = {
    "running": {"type": {"any_": ["RUNNING", "CANCELLING"]}},
    "starting": {"type": {"any_": ["PENDING"]}},
    "late": {"name": {"any_": ["Late"]}},
    "crashed": {"type": {"any_": ["CRASHED"]}},
}
_LARGEST = 6
_TABLES = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC LIMIT
"""
_FOLDERS = (
    ("server", "/var/lib/prefect"),
    ("worker", "/var/lib/prefect"),
    ("worker", "/tmp"),  # noqa: S108 - a container's own
    ("yeedu-mock", "/var/lib/yeedu-mock"),
)


def run_lines(api: PrefectApi) -> Iterator[str]:
    """Yield what the server reports about its flow runs and its scheduler."""
    try:
        for name, state in STATES.items():
            count, age = runs_in(api, state)
            yield f"runs {name:<10} {count}{f', the first since {age_of(age)}' if age is not None else ''}"
        age = scheduler_age(api)
    except ApiUnavailableError as error:
        yield f"runs            unknown: {error}"
        return
    yield f"scheduler       {'has made no run' if age is None else f'made its last run {age_of(age)} ago'}"


def runs_in(api: PrefectApi, state: JSON, among: JSON | None = None) -> tuple[int, timedelta | None]:
    """Return how many runs are in a state, and how long ago the first was due (None for crashed runs).

    Args:
        api: The server.
        state: The filter of the state.
        among: Further filters; none for all runs.
    """
    body = {"flow_runs": {"state": state}, **(among or {})}
    count: int = api.post("/flow_runs/count", body)
    if not count or "CRASHED" in str(state):
        return count, None
    [first] = api.post("/flow_runs/filter", {**body, "sort": "EXPECTED_START_TIME_ASC", "limit": 1}) or [None]
    if first is None:  # it ended in between
        return count, None
    return count, datetime.now(UTC) - datetime.fromisoformat(first["expected_start_time"])


def scheduler_age(api: PrefectApi) -> timedelta | None:
    """Return how long ago the scheduler made its last run; None if it has made none."""
    # The scheduler's runs have this tag, and ids that grow with time; copies made by hand may have it too.
    tagged = {"sort": "ID_DESC", "limit": 200, "flow_runs": {"tags": {"all_": ["auto-scheduled"]}}}
    newest: list[JSON] = api.post("/flow_runs/filter", tagged)
    made = [datetime.fromisoformat(run["created"]) for run in newest if run["auto_scheduled"]]
    return datetime.now(UTC) - max(made) if made else None


def volume_lines(project: Project) -> Iterator[str]:
    """Yield the sizes of the database, its largest tables, and the containers' folders."""
    for [total] in postgres_rows(project.inside, "SELECT pg_database_size('prefect')"):
        yield f"database        {size_of(int(total))}"
        for table, size in postgres_rows(project.inside, f"{_TABLES} {_LARGEST}"):
            yield f"  {table:<28} {size_of(int(size))}"
    for service, folder in _FOLDERS:
        used = project.inside(service, "du", "-sk", folder).split()
        if used:
            yield f"{service:<15} {size_of(1024 * int(used[0]))} in {folder}"


def postgres_rows(inside: Callable[..., str], statement: str) -> list[list[str]]:
    """Return the rows of a query on Prefect's database in its container; none if it does not run.

    Args:
        inside: Runs a command in a service's container, and returns what it prints.
        statement: The query; no column may contain a space.
    """
    how = ("--no-psqlrc", "--no-align", "--tuples-only", "--field-separator= ", f"--command={statement}")
    printed = inside("postgres", "psql", "--username=prefect", "--dbname=prefect", *how)
    return [line.split(" ") for line in printed.splitlines() if line]


def sqlite_lines(folder: Path) -> Iterator[str]:
    """Yield the sizes of the database, its largest tables, and the folders of local processes.

    Args:
        folder: The folder in which each service has its own.
    """
    database = folder / "server" / "prefect.db"
    if database.exists():
        yield f"database        {size_of(database.stat().st_size)}"
        for table, size in sqlite_tables(database):
            yield f"  {table:<28} {size_of(size)}"
    for service in ("server", "worker", "yeedu-mock", "logs"):
        if not (folder / service).exists():
            continue
        files = [file for file in (folder / service).rglob("*") if file.is_file() and file != database]
        used = sum(file.stat().st_size for file in files)
        yield f"{service:<15} {size_of(used)} in {folder.name}/{service}"


def sqlite_tables(database: Path) -> list[tuple[str, int]]:
    """Return the largest tables and their sizes; none if SQLite was built without this information."""
    sql = "SELECT name, SUM(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT ?"
    try:
        with closing(read_only(database, 5)) as connection:
            return connection.execute(sql, (_LARGEST,)).fetchall()
    except sqlite3.Error:
        return []


def age_of(age: timedelta) -> str:
    """Return a duration in words, in the largest unit of which there are two or more."""
    seconds = max(int(age.total_seconds()), 0)
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def size_of(count: int) -> str:
    """Return a number of bytes in megabytes."""
    return f"{count / 1e6:,.1f} MB"
