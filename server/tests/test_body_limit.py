"""What is sent has a size, alone and together with what others send."""

import asyncio
from collections.abc import AsyncIterator

import body_limit
import httpx
import pytest
from body_limit import BodyLimit
from fastapi import FastAPI, Request


def application() -> FastAPI:
    """Read bodies as Prefect does: behind a middleware of the kind that it has."""
    app = FastAPI()

    @app.middleware("http")
    async def pass_on(request: Request, call_next: object) -> object:
        return await call_next(request)  # type: ignore[operator]

    @app.post("/")
    async def read(body: list[str]) -> int:
        return len(body)

    return app


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> BodyLimit:
    monkeypatch.setattr(body_limit, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(body_limit, "MAX_BYTES_AT_ONCE", 3 << 20)
    return BodyLimit(application())


@pytest.fixture
def client(limited: BodyLimit) -> httpx.AsyncClient:
    json = {"Content-Type": "application/json"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url="http://server", headers=json)


async def in_parts(megabytes: float, until: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    """Send a body without saying how long it will be."""
    yield b'["'
    for _ in range(int(16 * megabytes)):
        yield b"x" * (1 << 16)
    if until:
        await until.wait()
    yield b'"]'


@pytest.mark.parametrize("says_length", [True, False])
def test_too_long_a_body_is_refused_in_one_sentence(client: httpx.AsyncClient, says_length: bool) -> None:
    async def send() -> list[httpx.Response]:
        small, large = (
            [b'["' + b"x" * int(size * (1 << 20)) + b'"]' if says_length else in_parts(size)][0]
            for size in (0.5, 1.5)
        )
        return [await client.post("/", content=content) for content in (small, large, b"[]")]

    small, large, after = asyncio.run(send())
    assert (small.status_code, small.json()) == (200, 1)
    assert large.status_code == 413
    assert large.json() == {"exception_message": "A request may have 1 MiB at most"}
    assert after.status_code == 200


def test_bodies_under_way_have_a_size_together_which_is_free_again_afterwards(
    limited: BodyLimit, client: httpx.AsyncClient
) -> None:
    async def send() -> tuple[list[int], int, int]:
        may_end = asyncio.Event()
        slow = [asyncio.create_task(client.post("/", content=in_parts(0.9, may_end))) for _ in range(3)]
        while limited.bytes_under_way < 2.6 * (1 << 20):
            await asyncio.sleep(0)
        refused = await client.post("/", content=in_parts(0.9))
        may_end.set()
        ended = [answer.status_code for answer in await asyncio.gather(*slow)]
        return ended, refused.status_code, (await client.post("/", content=in_parts(0.9))).status_code

    assert asyncio.run(send()) == ([200, 200, 200], 503, 200)
    assert limited.bytes_under_way == 0
