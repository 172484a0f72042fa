"""Several servers whose database is behind a real PgBouncer, in either of its modes."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.machines import machine
from tests.platforms import Api, free_port, wait_for
from tests.scaled_flows import fly
from tests.scaled_server import PASSWORD, Container, ScaledServer

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(600)]

CACHES = tuple(
    f"PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_{kind}_CACHE_SIZE"
    for kind in ("STATEMENT", "PREPARED_STATEMENT")
)


class Pooled(ScaledServer):
    """A server and services that reach their database through a PgBouncer in a mode."""

    def __init__(self, home: Path, mode: str) -> None:
        self._mode, port = mode, free_port()
        self._port = port
        settings = dict.fromkeys(CACHES, "0") if mode == "transaction" else {}
        super().__init__(home, 1, PREFECT_SERVER_DATABASE_PORT=str(port), **settings)
        self.pooler: Container | None = None

    def _start_postgres(self) -> Container:
        postgres = super()._start_postgres()
        variables = {
            "DATABASE_PORT": self.database_port,
            "DATABASE_PASSWORD": PASSWORD,
            "PORT": self._port,
            "MODE": self._mode,
        }
        arguments = [f"--env={name}={value}" for name, value in variables.items()]
        self.pooler = Container(
            machine("pgbouncer"), self._port, self._port, ["--network=host", *arguments], []
        )
        return postgres

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self.pooler:
            self.pooler.remove()


@pytest.fixture(params=["session", "transaction"])
def pooled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pooled]:
    """The server in both modes, with what docs/own-database.md asks for, and nothing else."""
    server = Pooled(tmp_path, request.param)
    with server:
        yield server


def test_runs_and_automations_go_on_behind_a_pooler(pooled: Pooled, tmp_path: Path) -> None:
    fly(pooled, tmp_path / "client")
    asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'prefect' AND client_port IS NOT NULL"
    assert int(pooled.sql(asked)[0][0]) <= 20, "what the pooler opens at most"

    # Made while services run: by LISTEN they know of it at once, and without it within some seconds.
    name = f"asked-{uuid.uuid4()}"
    trigger = {"type": "event", "posture": "Reactive", "expect": [name], "threshold": 1, "within": 0}
    target = "00000000-0000-0000-0000-000000000001"
    action = {"type": "pause-work-pool", "source": "selected", "work_pool_id": target}
    made = pooled.api.post("automations/", {"name": name, "trigger": trigger, "actions": [action]})
    began = time.monotonic()
    wait_for("the automation", lambda: acts(pooled.api, name, made["id"]), 60, 0.5)
    assert time.monotonic() - began < 30
    for part in (*pooled.servers, pooled.services):
        assert "prepared statement" not in part.log(), part.log()[-3000:]


def acts(api: Api, event: str, automation: str) -> bool:
    """Send an event, and tell whether the automation has acted on one."""
    now = datetime.now(UTC).isoformat()
    told: dict[str, Any] = {"occurred": now, "event": event, "id": str(uuid.uuid4()), "payload": {}}
    sent = api.ask("POST", "events", [{**told, "resource": {"prefect.resource.id": "test"}, "related": []}])
    assert sent.ok, sent.text
    wanted = {
        "event": {"name": ["prefect.automation.triggered"]},
        "resource": {"id": [f"prefect.automation.{automation}"]},
    }
    return bool(api.post("events/filter", {"filter": wanted})["events"])
