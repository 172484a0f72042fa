"""A database that is not there costs clients time, and nothing else."""

import asyncio

import httpx
import pytest
from outage import answer_while_database_is_away
from prefect.server.api import server
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings

from tests.platforms import free_port


async def count_flows(url: str) -> httpx.Response:
    with temporary_settings({PREFECT_SERVER_DATABASE_CONNECTION_URL: url}):
        application = server.create_app(ignore_cache=True)
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post("/api/flows/count")


def test_clients_are_told_to_ask_again_until_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "custom_internal_exception_handler", server.custom_internal_exception_handler)
    answer_while_database_is_away()
    url = f"postgresql+asyncpg://prefect:prefect@127.0.0.1:{free_port()}/prefect"
    answer = asyncio.run(count_flows(url))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["Prefect-Maintenance"] == "true"
