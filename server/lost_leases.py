"""Frees the slots of concurrency limits when Redis has lost their leases: nothing else would free them.

Prefect counts taken slots in its database, but keeps their holders and expiry times in Redis. A slot is freed
when its lease expires. If the leases are gone, as in a Redis that was emptied or is new, the counted slots
would stay taken for ever.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from outage import AWAY
from prefect.logging import get_logger
from prefect.server.database import provide_database_interface
from prefect.settings import Settings
from redis.exceptions import RedisError
from shared_state import client_of, close
from sqlalchemy.exc import SQLAlchemyError

MARK = "yeedu-prefect:leases"  # while it is set, Redis has not lost its leases
POLL_SECONDS = 5.0
_logger: logging.Logger = get_logger("server.slots")


async def free_lost_slots(settings: Settings) -> None:
    """Poll for the mark until cancelled; if it is missing, free all slots and set it."""
    redis = client_of(settings)
    try:
        while True:
            with suppress(RedisError, OSError, SQLAlchemyError, *AWAY):  # the next poll tries again
                if not await redis.exists(MARK):
                    if limits := await _free_all():
                        _logger.warning("Redis has lost its leases: freed the slots of %d limits", limits)
                    await redis.set(MARK, "1")
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await close(redis)


async def _free_all() -> int:
    """Free every slot; return the number of limits that had any taken."""
    database: Any = provide_database_interface()
    limits = database.ConcurrencyLimitV2
    async with database.session_context(begin_transaction=True) as session:
        done = await session.execute(sa.update(limits).where(limits.active_slots > 0).values(active_slots=0))
    return int(done.rowcount)
