"""The warehouse as a local process, with a real Postgres."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from local.console import Console
from local.errors import CommandError
from local.install.virtual_environment import PROGRAMS
from local.processes import services, startup, warehouse
from local.processes.child_environment import child_environment
from local.processes.startup import Startup
from local.processes.supervisor import Supervisor
from local.settings.platform import Settings
from tests.platforms import free_port

PASSWORD = "planted-password"
needs_postgres = pytest.mark.skipif(bool(warehouse.why_not()), reason=warehouse.why_not())


def ask(url: str, statement: str, password: str = PASSWORD) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url, password=password)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.stop("warehouse")


@pytest.fixture
def own(supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Startup:
    """Local processes in a folder of the test's own; whatever they start is stopped with the test."""
    for module in (startup, services):
        for name in ("STATE", "WAREHOUSE", "SECRETS"):
            monkeypatch.setattr(module, name, tmp_path / {"STATE": ""}.get(name, name.lower()))
    password = tmp_path / "secrets" / "warehouse" / "postgres-password"
    password.parent.mkdir(parents=True)
    password.write_text(PASSWORD)
    return Startup(supervisor, child_environment(os.environ, PROGRAMS), Settings({}), Console())


def started(own: Startup) -> str:
    """Start it unless it runs, and return its address once it takes connections."""
    url, [service] = own.ensure_warehouse()
    own.await_ready(service)
    return url


@needs_postgres
def test_it_starts_once_keeps_its_data_and_lets_nobody_in_without_the_password(
    own: Startup, supervisor: Supervisor, tmp_path: Path
) -> None:
    url = started(own)
    assert ask(url, "SELECT current_database(), current_user") == [("warehouse", "warehouse")]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        ask(url, "SELECT 1", password="another")
    ask(url, "CREATE TABLE kept AS SELECT 17 AS number")
    assert started(own) == url, "it runs already"
    for file in (tmp_path / "processes").iterdir():
        assert PASSWORD not in file.read_text()
    supervisor.stop("warehouse")
    assert supervisor.find("warehouse") is None
    again = started(own)
    assert ask(again, "SELECT number FROM kept") == [(17,)]


@needs_postgres
def test_it_listens_on_loopback_alone_and_has_no_socket_file(tmp_path: Path) -> None:
    command = " ".join(warehouse.command(tmp_path, free_port()))
    assert "listen_addresses=127.0.0.1" in command
    assert "unix_socket_directories= " in command + " "


def test_a_warehouse_of_ones_own_is_taken_and_none_is_started(supervisor: Supervisor, tmp_path: Path) -> None:
    url = "postgresql://me@db.example/analytics"
    own = Startup(supervisor, {}, Settings({"WAREHOUSE_URL": url}), Console())
    assert own.ensure_warehouse() == (url, [])
    assert not (tmp_path / "processes").exists()


def test_a_machine_without_postgres_comes_up_without_a_warehouse_and_says_so(
    supervisor: Supervisor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(warehouse, "VENV", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Startup(supervisor, {}, Settings({}), Console()).ensure_warehouse() == ("", [])
    assert "left out: no Postgres was found" in capsys.readouterr().out


@needs_postgres
def test_a_database_that_cannot_be_made_leaves_nothing_half_done(tmp_path: Path) -> None:
    environment = child_environment(os.environ, PROGRAMS)
    with pytest.raises(CommandError, match="warehouse: cannot be made: "):
        warehouse.make_database(tmp_path / "data", tmp_path / "no-such-password", environment)
    assert not (tmp_path / "data").exists()
