"""Settings of another database that would be ignored are one sentence each, before anything starts."""

import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from local import __main__ as program
from local.containers.engine import Engine
from local.errors import CommandError
from local.processes.services import Order
from local.settings.own_database import check_own_database
from local.settings.platform import Settings, environment_of_commands

HOST = {"PREFECT_SERVER_DATABASE_HOST": "db.example"}
OVERLAY = {"COMPOSE_FILE": "docker-compose.yaml:deploy/own-database.yaml"}
URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


@pytest.mark.parametrize(
    ("values", "in_containers", "sentence"),
    [
        ({}, True, ""),
        ({}, False, ""),
        ({**HOST, **OVERLAY}, True, ""),
        (OVERLAY, True, "has deploy/own-database.yaml, and .env has no PREFECT_SERVER_DATABASE_HOST"),
        (HOST, True, "no COMPOSE_FILE=docker-compose.yaml:deploy/own-database.yaml"),
        ({**HOST, **OVERLAY}, False, "local processes keep Prefect's data in SQLite"),
        ({URL: "postgresql+asyncpg://me:hidden@db/x"}, True, f"{URL} is not supported"),
        ({"PREFECT_API_DATABASE_CONNECTION_URL": "sqlite:///x"}, False, "is not supported"),
    ],
)
def test_what_would_be_ignored_is_refused(values: dict[str, str], in_containers: bool, sentence: str) -> None:
    with pytest.raises(CommandError, match=re.escape(sentence)) if sentence else nullcontext() as refused:
        check_own_database(Settings(values), in_containers=in_containers)
    assert "hidden" not in str(refused)


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_an_own_database_is_not_backed_up_here(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "read", lambda: Settings(HOST))
    monkeypatch.setattr(program, "find_engine", lambda: Engine("none", is_usable=False))
    with pytest.raises(CommandError, match=r"is in your Postgres at db\.example; back it up there"):
        program.run(command, Path("backups/x.tar"), Order())


def test_what_a_shell_exports_for_another_prefect_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "sqlite+aiosqlite:///x.db")
    assert URL not in environment_of_commands()
