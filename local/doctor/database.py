"""Checks Prefect's database: its size, its connections, and whether old data is deleted."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from local.backup.databases import read_only
from local.doctor.engine import since
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import Site
from local.settings.own_database import HOST
from local.status.metrics import age_of, postgres_rows, size_of

LARGE_BYTES = 20_000_000_000
FULL_SHARE, MUCH_SHARE = 0.9, 0.75
MANY_DEAD = 100_000
_GRACE = timedelta(days=2)  # the server cleans up only now and then
CLEARING = timedelta(days=1)  # how long cleaning up may take after downtime
BUSY_SECONDS = 2.0
_CONNECTIONS = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
current_setting('max_connections'),
(SELECT coalesce(max(extract(epoch FROM now() - xact_start))::int, 0) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND state LIKE 'idle in transaction%'),
(SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock')
"""
_DEAD = """
SELECT relname, n_live_tup, n_dead_tup,
coalesce(extract(epoch FROM now() - greatest(last_vacuum, last_autovacuum))::int, -1)
FROM pg_stat_user_tables WHERE n_dead_tup > 10000 ORDER BY n_dead_tup DESC LIMIT 5
"""
_OVER = (
    "flow_run WHERE end_time IS NOT NULL AND state_type IN ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED')"
)
# What is deleted when too old: its time, where it is, the setting that says how long it is kept, the default.
_KEPT = {
    "events": ("occurred", "events", "EVENT_RETENTION_SECONDS", 604800),
    "finished flow runs": ("end_time", _OVER, "RETENTION_SECONDS", 7776000),
}
_AGE = "SELECT extract(epoch FROM now() - min({}))::bigint FROM {}"
_AGE_IN_SQLITE = "SELECT strftime('%s', 'now') - strftime('%s', min({})) FROM {}"
_SIZES = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relname IN ('events', 'log')
"""


def rows(site: Site, statement: str) -> list[list[str]]:
    """Return the rows of a query on Prefect's database in its container; none if it does not run."""
    if not site.runs("postgres"):
        return []
    return postgres_rows(lambda *command: site.inside(*command).output, " ".join(statement.split()))


def _from_sqlite(site: Site, statement: str) -> list[tuple[object, ...]]:
    """Return the rows of a query on Prefect's database of local processes; none if there is none.

    Raises:
        sqlite3.Error: It is locked, or cannot be read.
    """
    file = site.state / "server" / "prefect.db"
    if site.items or not file.exists():
        return []
    with closing(read_only(file, BUSY_SECONDS)) as connection:
        return connection.execute(statement).fetchall()


def check_database(site: Site) -> Iterator[Finding]:
    """Check how large the database is, and whether it can be read."""
    if host := site.settings.get(HOST):
        yield note(
            f"Prefect's data is in your Postgres at {host}",
            "look at its size, its connections and bloat there",
        )
        return
    for [total] in rows(site, "SELECT pg_database_size('prefect')"):
        yield _size(int(total))
    file = site.state / "server" / "prefect.db"
    if not site.items and file.exists():
        try:
            free, pages = (
                _number(_from_sqlite(site, f"PRAGMA {name}")) for name in ("freelist_count", "page_count")
            )
        except sqlite3.Error as error:
            yield _unreadable(file, str(error))
            return
        if not pages:
            yield note(f"{file} is empty", "`make up`: the server makes its tables in it")
            return
        log = file.with_name(f"{file.name}-wal")
        if log.exists() and log.stat().st_size > 1_000_000_000:
            yield wrong(
                f"{log.name} has {size_of(log.stat().st_size)}", "`make down`, then `make up` writes it back"
            )
        unused = f", {100 * free // pages} % of it unused" if free else ""
        size = _size(file.stat().st_size)
        yield Finding(size.level, size.text + unused, size.fix)


def _unreadable(file: Path, reason: str) -> Finding:
    """Distinguish a damaged database from one that is locked or belongs to another user."""
    if "malformed" in reason or "not a database" in reason:
        return wrong(f"{file} cannot be read as a database: {reason}", "`make restore FILE=backups/NAME.tar`")
    return note(f"{file} was not checked: {reason}", "check again, as the user who runs the platform")


def _number(found: list[tuple[object, ...]]) -> int:
    return int(str(found[0][0])) if found and found[0][0] is not None else 0


def _size(count: int) -> Finding:
    text = f"the database has {size_of(count)}"
    fix = "keep less: RETENTION_SECONDS, EVENT_RETENTION_SECONDS; `make status` has the largest tables"
    return note(text, fix) if count > LARGE_BYTES else ok(text)


def check_connections(site: Site) -> Iterator[Finding]:
    """Check how many of Postgres' connections are taken, and whether one blocks others."""
    for used, most, idle_seconds, blocked in rows(site, _CONNECTIONS):
        share = int(used) / int(most)
        text = f"{used} of {most} connections are taken"
        if share > FULL_SHARE:
            yield wrong(
                text,
                "end what else connects: docker compose exec postgres psql -U prefect "
                "-c 'TABLE pg_stat_activity'",
            )
        else:
            yield note(text) if share > MUCH_SHARE else ok(text)
        if int(idle_seconds) > 300:
            yield wrong(
                f"a transaction has been open and idle for {age_of(timedelta(seconds=int(idle_seconds)))}; "
                "nothing is cleared away meanwhile",
                "end it: pg_terminate_backend(pid) of that row of pg_stat_activity",
            )
        if int(blocked) > 5:
            yield note(f"{blocked} statements wait for locks", "look at pg_stat_activity")


def check_dead_rows(site: Site) -> Iterator[Finding]:
    """Look for tables that are mostly dead rows, which autovacuum did not clean up."""
    if not rows(site, "SELECT 1"):
        return
    bloated = 0
    for table, live, dead, vacuumed in rows(site, _DEAD):
        if int(dead) > MANY_DEAD and int(dead) > int(live):
            bloated += 1
            when = "never" if int(vacuumed) < 0 else f"{age_of(timedelta(seconds=int(vacuumed)))} ago"
            yield wrong(
                f"{table} has {dead} dead rows beside {live} living ones; vacuumed {when}",
                f"docker compose exec postgres vacuumdb --username=prefect --analyze --table={table} prefect",
            )
    if not bloated:
        yield ok("dead rows are cleared away")


def check_retention(site: Site) -> Iterator[Finding]:
    """Check that old events and finished runs are deleted, and how large events and logs are."""
    up_for = _server_age(site)
    sizes = [f"{table} {size_of(int(size))}" for table, size in rows(site, _SIZES)]
    for what, (moment, place, setting, default) in _KEPT.items():
        try:
            found = rows(site, _AGE.format(moment, place))
            found = found or _from_sqlite(site, _AGE_IN_SQLITE.format(moment, place))
        except sqlite3.Error as error:
            yield note(f"{what} were not checked: {error}", "see `database`")
            continue
        age_seconds = int(float(str(found[0][0]))) if found and found[0][0] else 0
        kept = timedelta(seconds=site.settings.seconds(setting, default))
        age = timedelta(seconds=age_seconds)
        text = f"{what} of {age_of(age)} ago are still there, and {setting} says {age_of(kept)}"
        if age > kept + _GRACE and (up_for is None or up_for < CLEARING):
            yield note(text, "the server clears them away within a day of being up")
        elif age > kept + _GRACE:
            yield wrong(
                text,
                "`docker compose logs server` says what its vacuum fails at; `docker compose restart server`",
            )
        elif found:
            yield ok(f"the oldest {what} are {age_of(age)} old, of {age_of(kept)}")
    if sizes:
        yield ok(", ".join(sizes))


def _server_age(site: Site) -> timedelta | None:
    """Return the server's uptime; `timedelta.max` if it is unknown, None if the server is down."""
    if item := site.item("server"):
        return since(item["State"]["StartedAt"]) if site.runs("server") else None
    if site.server():
        return None
    record = site.state / "processes" / "server.json"
    return timedelta(seconds=time.time() - record.stat().st_mtime) if record.exists() else timedelta.max


THEME = Theme(
    "database",
    (
        Check(
            "database",
            "the size of Prefect's database; for local processes, whether it can be read",
            "its file is damaged, or its write-ahead log has more than 1 GB",
            "`make restore`",
            check_database,
        ),
        Check(
            "connections",
            "how many connections of Postgres are taken; transactions that are open and idle",
            "more than 90 %; one for more than 5 min",
            "end what connects",
            check_connections,
        ),
        Check(
            "dead-rows",
            "dead rows that autovacuum did not clear away",
            "a table has more than 100,000, and more than living ones",
            "`vacuumdb`",
            check_dead_rows,
        ),
        Check(
            "retention",
            "the oldest events and finished runs, and the size of events and logs",
            "they are two days older than `EVENT_RETENTION_SECONDS`, `RETENTION_SECONDS` say, and the server "
            "has been up for a day",
            "`docker compose logs server`",
            check_retention,
        ),
    ),
)
