#!/usr/bin/env python3
"""Brings Prefect's database to the state that this image's Prefect expects: its schema and block types.

The only process that changes the schema. An empty database gets the snapshot that the same steps made while
the image was built, in a fraction of the time that they take. A database that this version of Prefect has
prepared is left alone. Any other is migrated by Prefect.

Usage: migrate.py [--without-snapshot]

Environment:
    PREFECT_SERVER_DATABASE_HOST, _PORT, _NAME, _USER, _PASSWORD: Where the database is.
"""

import asyncio
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

FOLDER = Path(__file__).parent
SNAPSHOT = FOLDER / "schema.sql"
STEPS = (
    ["prefect", "server", "database", "upgrade", "--yes"],
    [sys.executable, str(FOLDER / "register_block_types.py")],
)
# Which version prepared the database is kept in it, as a comment; the snapshot holds the comment, too.
PREPARED_BY = f"Prefect {version('prefect')}"
MARK = f"COMMENT ON TABLE public.block_type IS '{PREPARED_BY}'"
READ_MARK = "SELECT obj_description(to_regclass('public.block_type'), 'pg_class')"
COUNT_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


async def is_prepared(database: Any, snapshot: str) -> bool:
    """Load the snapshot into an empty database, all or nothing; tell whether the database is prepared now.

    Raises:
        ValueError: The snapshot was made by another version.
    """
    if MARK not in snapshot:
        raise ValueError(f"{SNAPSHOT} was not made by {PREPARED_BY}; build the image again")
    if not await database.fetchval(COUNT_TABLES):
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
    """Connect to the database."""
    driver: Any = asyncpg  # it has no types
    host, port, name, user, password = (
        os.environ[f"PREFECT_SERVER_DATABASE_{name}"] for name in ("HOST", "PORT", "NAME", "USER", "PASSWORD")
    )
    return await driver.connect(
        host=host, port=int(port), database=name, user=user, password=password, timeout=10
    )


async def prepare(*, has_snapshot: bool) -> None:
    """Do what is left to do.

    Raises:
        CalledProcessError: A step failed; its own output says why.
    """
    database = await connect()
    try:
        if has_snapshot and await is_prepared(database, SNAPSHOT.read_text(encoding="utf-8")):
            return
        for step in STEPS:
            subprocess.run(step, check=True)
        await database.execute(MARK)
    finally:
        await database.close()


def main() -> None:
    """Leave with 0 when the database is prepared, else with one sentence."""
    try:
        asyncio.run(prepare(has_snapshot="--without-snapshot" not in sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"migrate: `{' '.join(error.cmd)}` ended with exit code {error.returncode}")
    except KeyError as error:
        sys.exit(f"migrate: {error.args[0]} is not set")
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        sys.exit(f"migrate: {error or type(error).__name__}")


if __name__ == "__main__":
    main()
