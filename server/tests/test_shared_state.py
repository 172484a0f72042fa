"""A part of a server that would keep to itself what others need does not start."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import shared_state
from prefect.settings import Settings
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.script import load_script

SERVER = Path(__file__).parents[1]
LAUNCHER = load_script(SERVER / "with_secrets.py")
DATABASE = {
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://prefect:canary@postgres.example/prefect"
}
SHARED = LAUNCHER.environment_with_redis({**DATABASE, "REDIS_URL": "redis://redis.example:6379"})
CLOSED = LAUNCHER.environment_with_redis({**DATABASE, "REDIS_URL": "redis://127.0.0.1:1"})


def settings(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    for name in list(os.environ):
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_what_follows_from_the_address_of_redis_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_state.check_shared(settings(monkeypatch, SHARED))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////tmp/prefect.db"),
        ("PREFECT_SERVER_EVENTS_MESSAGING_BROKER", "prefect.server.utilities.messaging.memory"),
        ("PREFECT_SERVER_EVENTS_MESSAGING_CACHE", ""),
        ("PREFECT_SERVER_EVENTS_CAUSAL_ORDERING", ""),
        ("PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE", "prefect.server.concurrency.lease_storage.filesystem"),
        ("PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE", ""),
        ("PREFECT_SERVER_DOCKET_URL", ""),
        ("PREFECT_SERVER_DOCKET_NAME", "prefect-services"),
        ("PREFECT_SERVER_DOCKET_NAME", "another"),
        ("PREFECT_REDIS_MESSAGING_URL", ""),
        ("PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL", "redis://other.example:6379"),
    ],
)
def test_what_is_left_out_or_differs_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    changed = {**SHARED, name: value}
    if not value:
        del changed[name]
    with pytest.raises(shared_state.SharedStateError) as refused:
        shared_state.check_shared(settings(monkeypatch, changed))
    told = str(refused.value)
    assert name.replace("CONNECTION_URL", "HOST") in told
    assert "canary" not in told


def test_password_of_redis_is_in_its_addresses_and_in_no_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("canary/of?the#Redis\n")
    given = {"REDIS_URL": "redis://redis.example:6379", "REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    found = LAUNCHER.environment_with_redis({**DATABASE, **given})
    for name in LAUNCHER.REDIS_ADDRESSES:
        assert found[name] == "redis://:canary%2Fof%3Fthe%23Redis@redis.example:6379"
    assert not found.keys() & given.keys()
    other = {**found, "PREFECT_REDIS_MESSAGING_URL": "redis://other.example"}
    with pytest.raises(shared_state.SharedStateError) as refused:
        shared_state.check_shared(settings(monkeypatch, other))
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://redis.example", "redis.example:6379", "redis://me:canary@redis"])
def test_address_that_cannot_be_used_is_one_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=r"^REDIS_URL ") as refused:
        LAUNCHER.environment_with_redis({"REDIS_URL": url})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("program", "variables", "told"),
    [
        ("services.py", {}, "services: API servers and services need one Postgres for all"),
        (
            "serve.py",
            {"PREFECT__SERVER_WEBSERVER_ONLY": "1", **SHARED},
            "server: Redis at redis.example:6379",
        ),
    ],
)
def test_program_leaves_with_that_sentence(
    program: str, variables: dict[str, str], told: str, tmp_path: Path
) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, str(SERVER / program), "--port=1"],
        env={**inherited, "PREFECT_HOME": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1


class Answers:
    """An application that says which requests have reached it."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.methods.append(scope["method"])
            await Response("here")(scope, receive, send)
        else:
            await receive()


def test_while_redis_is_away_what_changes_anything_is_asked_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = Answers()
    application = shared_state.RedisGate(answers, settings(monkeypatch, CLOSED))

    async def ask(method: str, path: str = "/api/flows/") -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path)

    async def lived() -> list[httpx.Response]:
        """Ask once Redis is known to be away; nobody listens where it should be."""
        started = asyncio.ensure_future(application({"type": "lifespan"}, asyncio.Event().wait, None))  # type: ignore[arg-type]
        try:
            while (await ask("POST")).status_code != 503:
                await asyncio.sleep(0.01)
            return [await ask("GET"), await ask("POST", "/api/flows/filter"), await ask("POST")]
        finally:
            started.cancel()

    read, filtered, changed = asyncio.run(lived())
    assert read.text == filtered.text == "here"
    assert changed.json() == {"exception_message": "Redis does not answer"}
    assert (changed.headers["Retry-After"], changed.headers["Prefect-Maintenance"]) == ("2", "true")
