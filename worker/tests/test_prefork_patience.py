"""A flow run's calls while the server is away: asked again as long as an outage may last, and no longer."""

import itertools
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import anyio
import httpx
import pytest
from prefect.client import base
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from yeedu_worker.patches import patience

CLIENTS = (base.PrefectHttpxAsyncClient, base.PrefectHttpxSyncClient)


class ServerAway(httpx.MockTransport):
    """Answers nothing so many times, then 200."""

    def __init__(self, times: int) -> None:
        super().__init__(self._answer)
        self.times = times
        self.calls = 0

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.calls <= self.times:
            raise httpx.ReadError("connection reset", request=request)
        return httpx.Response(200, request=request)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients as in a flow run, with pauses that take no time."""
    for client in CLIENTS:
        monkeypatch.setattr(client, "_send_with_retry", client._send_with_retry)
    monkeypatch.setattr(patience, "MAX_PAUSE_SECONDS", 0.0)
    patience.wait_out_outages()
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: patience.RETRIES}):
        yield


def get(server: ServerAway) -> int:
    with base.PrefectHttpxSyncClient(transport=server, base_url="http://server") as client:
        return client.get("/").status_code


def get_asynchronously(server: ServerAway) -> int:
    async def ask() -> int:
        async with base.PrefectHttpxAsyncClient(transport=server, base_url="http://server") as client:
            return (await client.get("/")).status_code

    return anyio.run(ask)


both = pytest.mark.parametrize("get", [get, get_asynchronously])


@both
def test_long_outage_is_waited_out(get: Callable[[ServerAway], int]) -> None:
    assert get(ServerAway(5 * patience.RETRIES)) == 200


@both
def test_outage_that_does_not_end_is_an_error(
    get: Callable[[ServerAway], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds), sleep=time.sleep)
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr(patience, "OUTAGE_SECONDS", 20)
    monkeypatch.setattr(patience, "RETRIES", 0)
    server = ServerAway(10**6)
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), pytest.raises(httpx.ReadError):
        get(server)
    assert server.calls == 22


@both
def test_fewer_tries_are_kept(get: Callable[[ServerAway], int]) -> None:
    server = ServerAway(10**6)
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), pytest.raises(httpx.ReadError):
        get(server)
    assert server.calls == 1


def test_an_hour_of_silence_is_asked_about_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.undo()
    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    outage = patience.Outage()
    pauses = list[float]()
    while (pause_seconds := outage.pause_seconds()) is not None:
        pauses.append(pause_seconds)
        clock[0] += pause_seconds
    assert max(pauses) <= 12
    assert pauses[0] < 2
    assert 3600 < sum(pauses) < 3613
