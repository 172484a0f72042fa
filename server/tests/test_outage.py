"""A database that is not there costs clients time, and nothing else; a slow one is told as what it is."""

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import httpx
import pytest
from outage import answer_while_database_is_away
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.server.api import server
from prefect.server.database.dependencies import MODELS_DEPENDENCIES
from prefect.settings import (
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    PREFECT_SERVER_DATABASE_TIMEOUT,
    temporary_settings,
)

from local.processes import warehouse
from tests.platforms import free_port, wait_for

DRIVER: Any = asyncpg  # it has no types
PASSWORD = "planted-password"
# The table that /flows/count asks, and no other; whoever takes this lock lets no reader by.
TABLE = "CREATE TABLE IF NOT EXISTS flow (id uuid)"
STATEMENT_SECONDS = 2.5  # a busy machine takes some of them for statements that wait for nobody
LOCK = "LOCK TABLE flow IN ACCESS EXCLUSIVE MODE"


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MODELS_DEPENDENCIES:  # the database that was asked first is asked for ever
        monkeypatch.setitem(MODELS_DEPENDENCIES, name, None)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres of the test's own."""
    if reason := warehouse.why_not():
        pytest.skip(reason)
    folder, port = tmp_path_factory.mktemp("postgres"), free_port()
    (folder / "password").write_text(PASSWORD)
    warehouse.make_database(folder / "data", folder / "password", os.environ)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(warehouse.command(folder / "data", port), stdout=log, stderr=log)
    try:
        ready = warehouse.ready_command(port)
        wait_for("Postgres", lambda: not subprocess.run(ready, check=False).returncode, 60)
        yield f"postgresql+asyncpg://warehouse:{PASSWORD}@127.0.0.1:{port}/warehouse"
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextlib.asynccontextmanager
async def asking(
    url: str, kind: type[httpx.AsyncClient] = httpx.AsyncClient, seconds: float = STATEMENT_SECONDS
) -> AsyncGenerator[Any, None]:
    """A client of a server with that database, which waits for it as long as the settings here say."""
    settings: dict[Any, Any] = {
        PREFECT_SERVER_DATABASE_CONNECTION_URL: url,
        PREFECT_SERVER_DATABASE_TIMEOUT: seconds,
        PREFECT_CLIENT_MAX_RETRIES: 1,
    }
    with temporary_settings(settings):
        application = server.create_app(ignore_cache=True)
        answer_while_database_is_away(application)
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        async with kind(transport=transport, base_url="http://server/api") as client:
            yield client


async def count_flows(url: str, seconds: float = STATEMENT_SECONDS) -> httpx.Response:
    async with asking(url, seconds=seconds) as client:
        return await client.post("/flows/count")


@contextlib.contextmanager
def silent_server() -> Generator[int, None, None]:
    """A port where connections are taken and nothing is ever answered, as of a machine that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def assert_is_told_as_away(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["Prefect-Maintenance"] == "true"


def test_clients_are_told_to_ask_again_until_the_database_is_back() -> None:
    url = f"postgresql+asyncpg://prefect:prefect@127.0.0.1:{free_port()}/prefect"
    assert_is_told_as_away(asyncio.run(count_flows(url)))


def test_database_that_does_not_say_a_word_is_away() -> None:
    with silent_server() as port, temporary_settings({PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT: 0.5}):
        url = f"postgresql+asyncpg://prefect:prefect@127.0.0.1:{port}/prefect"
        assert_is_told_as_away(asyncio.run(count_flows(url)))


def test_slow_statement_is_an_error_that_says_so_and_ends(database: str) -> None:
    """Prefect's own client asked again without an end, and so had the database do it again without an end."""

    async def ask_while_locked() -> tuple[httpx.Response, str]:
        holder = await DRIVER.connect(database.replace("+asyncpg", ""))
        try:
            await holder.execute(TABLE)
            async with holder.transaction():
                await holder.execute(LOCK)
                answer = await count_flows(database)
                async with asking(database, PrefectHttpxAsyncClient) as client:
                    with pytest.raises(PrefectHTTPStatusError) as failure:
                        await asyncio.wait_for(client.post("/flows/count"), 60)
            return answer, str(failure.value)
        finally:
            await holder.close()

    answer, told = asyncio.run(ask_while_locked())
    assert answer.status_code == 503
    assert "Prefect-Maintenance" not in answer.headers
    sentence = f"A statement took longer than {STATEMENT_SECONDS} s (PREFECT_SERVER_DATABASE_TIMEOUT)"
    assert answer.json()["exception_message"].startswith(sentence)
    assert sentence in told


def test_the_same_database_answers_once_the_lock_is_gone(database: str) -> None:
    async def ask() -> httpx.Response:
        maker = await DRIVER.connect(database.replace("+asyncpg", ""))
        await maker.execute(TABLE)
        await maker.close()
        return await count_flows(database, seconds=60)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()) == (200, 0)
