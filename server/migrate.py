#!/usr/bin/env python3
"""Brings Prefect's database to the schema of this image; the only process that changes the schema.

An empty database gets the snapshot that the same migrations made while the image was built, in a fraction of the
time that they take. A database that is already there is left alone when it has the snapshot's revision; any other
is migrated by Prefect.

Environment:
    PREFECT_SERVER_DATABASE_HOST, _PORT, _NAME, _USER, _PASSWORD: Where the database is.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg

SNAPSHOT = Path(__file__).with_name("schema.sql")
MIGRATE = ["prefect", "server", "database", "upgrade", "--yes"]
_MARK = "INSERT INTO public.alembic_version VALUES ('"


def revision_of(snapshot: str) -> str:
    """Return the revision of a snapshot's schema.

    Raises:
        ValueError: It has none, so it is no snapshot of Prefect's schema.
    """
    revision = snapshot.partition(_MARK)[2].partition("'")[0]
    if not revision:
        raise ValueError(f"{SNAPSHOT} holds no revision; build the image again")
    return revision


async def has_schema_of(snapshot: str, database: Any) -> bool:
    """Load the snapshot into an empty database, all or nothing; tell whether the database has its schema now.

    Raises:
        ValueError: The snapshot holds no revision.
    """
    revision = revision_of(snapshot)
    tables = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    if not tables:
        await database.execute(f"BEGIN;{snapshot}COMMIT;")
        print(f"migrate: an empty database; loaded the schema of revision {revision}")
        return True
    found = None
    if "alembic_version" in {row["tablename"] for row in tables}:
        found = await database.fetchval("SELECT version_num FROM public.alembic_version")
    if found == revision:
        print(f"migrate: the database has revision {revision}; nothing to do")
        return True
    print(f"migrate: the database has revision {found or 'none'}, not {revision}; migrating")
    return False


async def bring_to_snapshot() -> bool:
    """Connect, and do what needs no migration; tell whether that was all there was to do."""
    names = {"host": "HOST", "port": "PORT", "database": "NAME", "user": "USER", "password": "PASSWORD"}
    settings = {key: os.environ.get(f"PREFECT_SERVER_DATABASE_{name}") for key, name in names.items()}
    database = await asyncpg.connect(**settings, timeout=10)
    try:
        return await has_schema_of(SNAPSHOT.read_text(encoding="utf-8"), database)
    finally:
        await database.close()


def main() -> None:
    """Leave when the schema is this image's, or become Prefect's own migration."""
    try:
        is_done = asyncio.run(bring_to_snapshot())
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError) as error:
        sys.exit(f"migrate: {error or type(error).__name__}")
    if not is_done:
        os.execvp(MIGRATE[0], MIGRATE)  # noqa: S606 - it replaces this process, so that signals reach it


if __name__ == "__main__":
    main()
