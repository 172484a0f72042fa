"""What tells early that something goes wrong: hanging flow runs, a silent scheduler, growing data."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.api import ApiUnavailableError, PrefectApi
from local.engine import Project

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
        for name, state in (
            ("running", {"type": {"any_": ["RUNNING", "CANCELLING"]}}),
            ("starting", {"type": {"any_": ["PENDING"]}}),
            ("late", {"name": {"any_": ["Late"]}}),
            ("crashed", {"type": {"any_": ["CRASHED"]}}),
        ):
            yield f"runs {name:<10} {_runs(api, state)}"
        # The scheduler's have this tag, and ids that grow with time; by hand, a copy of one may have its tag.
        tagged = {"sort": "ID_DESC", "limit": 200, "flow_runs": {"tags": {"all_": ["auto-scheduled"]}}}
        newest: list[dict[str, Any]] = api.post("/flow_runs/filter", tagged)
    except ApiUnavailableError as error:
        yield f"runs            unknown: {error}"
        return
    made = [datetime.fromisoformat(run["created"]) for run in newest if run["auto_scheduled"]]
    told = f"made its last run {age_of(datetime.now(UTC) - max(made))} ago" if made else "has made no run"
    yield f"scheduler       {told}"


def _runs(api: PrefectApi, state: dict[str, Any]) -> str:
    """Return how many runs are in a state, and since when the first of them was to be there."""
    body = {"flow_runs": {"state": state}}
    count = api.post("/flow_runs/count", body)
    if not count or "CRASHED" in str(state):
        return str(count)
    [first] = api.post("/flow_runs/filter", {**body, "sort": "EXPECTED_START_TIME_ASC", "limit": 1}) or [None]
    if first is None:  # it has ended in between
        return str(count)
    expected = datetime.fromisoformat(first["expected_start_time"])
    return f"{count}, the first since {age_of(datetime.now(UTC) - expected)}"


def volume_lines(project: Project) -> Iterator[str]:
    """Yield how large the database's tables and the volumes of the containers are."""
    sql = (
        "psql",
        "--username=prefect",
        "--dbname=prefect",
        "--no-align",
        "--tuples-only",
        "--field-separator= ",
    )
    total = project.inside("postgres", *sql, "--command=SELECT pg_database_size('prefect')").strip()
    if total.isdecimal():
        yield f"database        {_size(int(total))}"
        for line in project.inside("postgres", *sql, f"--command={_TABLES} {_LARGEST}").splitlines():
            table, _, size = line.partition(" ")
            yield f"  {table:<28} {_size(int(size))}"
    for service, folder in _FOLDERS:
        used = project.inside(service, "du", "-sk", folder).split()
        if used:
            yield f"{service:<15} {_size(1024 * int(used[0]))} in {folder}"


def sqlite_lines(folder: Path) -> Iterator[str]:
    """Yield how large the database and the folders of local processes are.

    Args:
        folder: Where each service has one of its own.
    """
    database = folder / "server" / "prefect.db"
    if database.exists():
        yield f"database        {_size(database.stat().st_size)}"
        for table, size in _sqlite_tables(database):
            yield f"  {table:<28} {_size(size)}"
    for service in ("server", "worker", "yeedu-mock", "logs"):
        if not (folder / service).exists():
            continue
        files = [file for file in (folder / service).rglob("*") if file.is_file() and file != database]
        yield f"{service:<15} {_size(sum(file.stat().st_size for file in files))} in {folder.name}/{service}"


def _sqlite_tables(database: Path) -> list[tuple[str, int]]:
    """Return the largest tables; none where SQLite was built without their sizes."""
    sql = "SELECT name, SUM(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT ?"
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)
        try:
            return connection.execute(sql, (_LARGEST,)).fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return []


def age_of(age: timedelta) -> str:
    """Return how long that is, in the largest unit of which it is two or more."""
    seconds = max(int(age.total_seconds()), 0)
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
