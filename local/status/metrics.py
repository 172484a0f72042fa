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
    """Yield what the server says about its flow runs and its scheduler."""
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
    """Return how many runs are in a state, and how long ago the first that is not over was to be there.

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
    if first is None:  # it has ended in between
        return count, None
    return count, datetime.now(UTC) - datetime.fromisoformat(first["expected_start_time"])


def scheduler_age(api: PrefectApi) -> timedelta | None:
    """Return how long ago the scheduler made its last run; None where it has made none."""
    # The scheduler's have this tag, and ids that grow with time; by hand, a copy of one may have its tag.
    tagged = {"sort": "ID_DESC", "limit": 200, "flow_runs": {"tags": {"all_": ["auto-scheduled"]}}}
    newest: list[JSON] = api.post("/flow_runs/filter", tagged)
    made = [datetime.fromisoformat(run["created"]) for run in newest if run["auto_scheduled"]]
    return datetime.now(UTC) - max(made) if made else None


def volume_lines(project: Project) -> Iterator[str]:
    """Yield how large the database's tables and the volumes of the containers are."""
    for [total] in postgres_rows(project.inside, "SELECT pg_database_size('prefect')"):
        yield f"database        {size_of(int(total))}"
        for table, size in postgres_rows(project.inside, f"{_TABLES} {_LARGEST}"):
            yield f"  {table:<28} {size_of(int(size))}"
    for service, folder in _FOLDERS:
        used = project.inside(service, "du", "-sk", folder).split()
        if used:
            yield f"{service:<15} {size_of(1024 * int(used[0]))} in {folder}"


def postgres_rows(inside: Callable[..., str], statement: str) -> list[list[str]]:
    """Return the rows that Prefect's database in its container answers with; none when it does not run.

    Args:
        inside: Runs a command in a service's container, and returns what it prints.
        statement: The query; its columns hold no blanks.
    """
    how = ("--no-psqlrc", "--no-align", "--tuples-only", "--field-separator= ", f"--command={statement}")
    printed = inside("postgres", "psql", "--username=prefect", "--dbname=prefect", *how)
    return [line.split(" ") for line in printed.splitlines() if line]


def sqlite_lines(folder: Path) -> Iterator[str]:
    """Yield how large the database and the folders of local processes are.

    Args:
        folder: Where each service has one of its own.
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
    """Return the largest tables; none where SQLite was built without their sizes."""
    sql = "SELECT name, SUM(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT ?"
    try:
        with closing(read_only(database, 5)) as connection:
            return connection.execute(sql, (_LARGEST,)).fetchall()
    except sqlite3.Error:
        return []


def age_of(age: timedelta) -> str:
    """Return how long that is, in the largest unit of which it is two or more."""
    seconds = max(int(age.total_seconds()), 0)
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def size_of(count: int) -> str:
    """Return a number of bytes in megabytes."""
    return f"{count / 1e6:,.1f} MB"
