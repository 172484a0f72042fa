#!/usr/bin/env python3
"""Brings Prefect's database to the state that this image's Prefect expects: its schema and block types.

The only process that changes the schema. An empty database gets a snapshot, which the same steps made when
the image was built, in a fraction of the time that they take. A database that this version of Prefect has
prepared is left alone. Any other is migrated by Prefect.

Usage: migrate.py [--without-snapshot] [--wait]

With --wait it retries until the database answers.

Environment:
    PREFECT_SERVER_DATABASE_HOST, _PORT, _NAME, _USER, _PASSWORD: Where the database is.
    PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED: Whether to connect over TLS.
    PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE, _MAX_OVERFLOW: Connections of each process of the server.
    API_SERVERS: How many serve the API beside a process of services; unset if one server does everything.
    DATABASE_DIRECT_HOST: Set if the server connects through a pooler, which this program has to bypass.
"""

import asyncio
import os
import ssl
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

FOLDER = Path(__file__).parent
SNAPSHOT = FOLDER / "schema.sql"
SNAPSHOT_POSTGRES = 17  # the version that it was dumped from
STEPS = (
    ["prefect", "server", "database", "upgrade", "--yes"],
    [sys.executable, str(FOLDER / "register_block_types.py")],
)
TLS_ENABLED = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED"
# The version that prepared the database is recorded in it, as a comment; so it is in the snapshot.
PREPARED_BY = f"Prefect {version('prefect')}"
MARK = f"COMMENT ON TABLE public.block_type IS '{PREPARED_BY}'"
READ_MARK = "SELECT obj_description(to_regclass('public.block_type'), 'pg_class')"
# Prefect's migrations have no lock: a second process waits here, and finds them done.
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtext('yeedu-prefect migrate'))"
# Indexes that a killed job left half built: written to but never used, and repaired by no migration.
INVALID_INDEXES = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE NOT indisvalid AND relnamespace = 'public'::regnamespace
"""
# The most connections that the database's user may have; a limit of -1 means none.
MAX_CONNECTIONS = """
SELECT least(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int,
    (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
    (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()))
"""
DIRECT = "DATABASE_DIRECT_HOST"
POOL = "PREFECT_SERVER_DATABASE_SQLALCHEMY_"
NO_STATEMENTS_KEPT = f"{POOL}CONNECT_ARGS_STATEMENT_CACHE_SIZE"
SMALLEST_POOL = 5  # Prefect's default
COUNT_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
_PAUSE_SECONDS = 0.5


async def is_prepared(database: Any, snapshot: str) -> bool:
    """Load the snapshot into an empty database, all or nothing; return whether the database is prepared.

    An empty text means that there is no snapshot to load.

    Raises:
        ValueError: The snapshot was made by another version.
    """
    if snapshot and MARK not in snapshot:
        raise ValueError(f"{SNAPSHOT} was not made by {PREPARED_BY}; build the image again")
    if not await database.fetchval(COUNT_TABLES):
        if not snapshot:
            print("migrate: an empty database; migrating", flush=True)
            return False
        await database.execute(f"BEGIN;{snapshot}COMMIT;")
        print("migrate: an empty database; loaded the schema from the image")
        return True
    found = await database.fetchval(READ_MARK)
    if found == PREPARED_BY:
        print(f"migrate: the database is that of {found}; nothing to do")
        return True
    print(f"migrate: the database is that of {found or 'another program or version'}; migrating", flush=True)
    return False


async def connect() -> Any:
    """Connect to the database; verify its certificate if TLS is on.

    Raises:
        ValueError: The certificate is not trusted.
        ConnectionError: The database cannot be reached.
    """
    driver: Any = asyncpg  # it has no types
    host, port, name, user, password = (
        os.environ[f"PREFECT_SERVER_DATABASE_{name}"] for name in ("HOST", "PORT", "NAME", "USER", "PASSWORD")
    )
    tls = os.environ.get(TLS_ENABLED, "").lower() in {"1", "true", "yes", "on"}
    try:
        return await driver.connect(
            host=host,
            port=int(port),
            database=name,
            user=user,
            password=password,
            timeout=10,
            ssl=ssl.create_default_context() if tls else None,
        )
    except ssl.SSLCertVerificationError as error:
        raise ValueError(
            f"the certificate of the database at {host} is not trusted ({error.verify_message}); "
            "set CA_CERT_FILE to the file of its CA"
        ) from None
    except (OSError, TimeoutError) as error:
        raise ConnectionError(
            f"the database at {host}, port {port}: {error or 'no answer in 10 s'}"
        ) from None


async def connect_with_retries() -> Any:
    """Connect as `connect` does, but wait until the database answers; print each reason for waiting once."""
    told = ""
    while True:
        try:
            return await connect()
        except (ConnectionError, asyncpg.CannotConnectNowError) as error:
            if str(error) != told:
                print(f"migrate: waiting for {error}", flush=True)
            told = str(error)
        await asyncio.sleep(_PAUSE_SECONDS)


async def wait_until_prepared() -> None:
    """Wait until this program, in the same version, has prepared the database.

    For servers that are not started after it: on a Docker Swarm, everything starts at once.

    Raises:
        KeyError, ValueError: A setting is missing, or the database cannot be used: see `connect`.
    """
    told = False
    while True:
        database = await connect_with_retries()
        try:
            if await database.fetchval(READ_MARK) == PREPARED_BY:
                return
        finally:
            await database.close()
        if not told:
            print(f"migrate: waiting for a database that is that of {PREPARED_BY}", flush=True)
        told = True
        await asyncio.sleep(_PAUSE_SECONDS)


async def take_turn(database: Any) -> None:
    """Wait until no other process migrates, and keep others from it until the connection ends.

    Polls for the lock: a statement that waited for it would itself be waited for by the other process's
    CREATE INDEX CONCURRENTLY.
    """
    told = False
    while not await database.fetchval(TRY_LOCK):
        if not told:
            print("migrate: another process prepares the database; waiting for its end", flush=True)
        told = True
        await asyncio.sleep(_PAUSE_SECONDS)


def check_way() -> None:
    """Refuse to prepare a database through a pooler in transaction mode, which shares connections.

    The lock would stay with a shared connection, and the next migration would wait for it.

    Raises:
        ValueError: There is such a pooler; the message says what to set.
    """
    if os.environ.get(NO_STATEMENTS_KEPT) == "0" and not os.environ.get(DIRECT):
        raise ValueError(
            f"{NO_STATEMENTS_KEPT} is 0, as for a pooler in transaction mode, past which migrations have to "
            f"go; set {DIRECT} (and DATABASE_DIRECT_PORT) to the database itself"
        )


async def check_connections(database: Any) -> None:
    """Refuse a database that allows fewer connections than the processes of the server may open.

    Behind a pooler, the pooler limits connections, and nothing is checked.

    Raises:
        ValueError: There are too few; the message says how many, and what to set.
    """
    pool, overflow = (int(os.environ.get(f"{POOL}{name}") or 0) for name in ("POOL_SIZE", "MAX_OVERFLOW"))
    if os.environ.get(DIRECT) or not pool:
        return
    servers = int(os.environ.get("API_SERVERS") or 0)
    processes = servers + 1 if servers else 1  # API servers need a process of services beside them
    most, needed = await database.fetchval(MAX_CONNECTIONS), processes * (pool + overflow + 1)
    if needed <= most:
        return
    fits = most // processes - overflow - 1
    ways = [f"{POOL}POOL_SIZE={fits}"] if fits >= SMALLEST_POOL else []
    ways += ["a smaller API_SERVERS"] if servers > 1 else []
    raise ValueError(
        f"the server opens up to {needed} connections to its database ({processes} x {pool + overflow}, and "
        f"one each to listen), and this user may have {most}; allow more there, or set "
        f"{' or '.join([*ways, 'a pooler before it'])} (docs/own-database.md)"
    )


async def prepare(*, has_snapshot: bool, waits: bool = False) -> None:
    """Prepare the database, unless it already is.

    Raises:
        CalledProcessError: A step failed; its own output says why.
    """
    check_way()
    database = await (connect_with_retries() if waits else connect())
    try:
        await check_connections(database)
        await take_turn(database)
        # An older Postgres does not understand all of the snapshot.
        loads = has_snapshot and database.get_server_version().major >= SNAPSHOT_POSTGRES
        if await is_prepared(database, SNAPSHOT.read_text(encoding="utf-8") if loads else ""):
            return
        for index in await database.fetch(INVALID_INDEXES):
            print(f"migrate: {index[0]} was left half built; deleting it, to be built again", flush=True)
            await database.execute(f"DROP INDEX {index[0]}")
        for step in STEPS:
            subprocess.run(step, check=True)
        await database.execute(MARK)
    finally:
        await database.close()


def main() -> None:
    """Exit with 0 once the database is prepared, else with one sentence."""
    try:
        options = sys.argv[1:]
        asyncio.run(prepare(has_snapshot="--without-snapshot" not in options, waits="--wait" in options))
    except subprocess.CalledProcessError as error:
        sys.exit(f"migrate: `{' '.join(error.cmd)}` ended with exit code {error.returncode}")
    except KeyError as error:
        sys.exit(f"migrate: {error.args[0]} is not set")
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        sys.exit(f"migrate: {error or type(error).__name__}")


if __name__ == "__main__":
    main()
