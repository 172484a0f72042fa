#!/usr/bin/env python3
"""Writes Prefect's own block types into its database, as its server would on a first start."""

import asyncio

from prefect.server.database import provide_database_interface
from prefect.server.models.block_registration import run_block_auto_registration


async def register() -> None:
    """Register all block types; update those that exist."""
    session = await provide_database_interface().session()
    async with session:
        await run_block_auto_registration(session=session)


if __name__ == "__main__":
    asyncio.run(register())
