"""What commands ask of a server, and do to its database, on a real one with a scheduler."""

import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from local.api import PrefectApi
from local.backup.databases import SqliteDatabase
from local.status.metrics import run_lines
from tests.platforms import Api, wait_for
from tests.prefect_process import PrefectProcess

MANUAL_RUNS = 210  # more than a page
# What becomes of a tick that was due when the backup was made, by the name of its state.
BEGUN = {
    "AwaitingRetry": "SCHEDULED",
    "AwaitingConcurrencySlot": "SCHEDULED",
    "Running": "RUNNING",
    "Completed": "COMPLETED",
}
NOT_BEGUN = {"Scheduled": "SCHEDULED", "Late": "SCHEDULED"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectProcess]:
    with PrefectProcess(
        tmp_path_factory.mktemp("prefect"), {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1"}
    ) as server:
        yield server


@pytest.fixture(scope="module")
def deployment(server: PrefectProcess) -> dict[str, Any]:
    """A deployment that ticks, with the scheduler's runs and many more that were started by hand."""
    api = Api(server.url)
    flow = api.post("flows/", {"name": "work"})["id"]
    interval = {"interval": 300, "anchor_date": "2026-01-01T00:00:00Z"}
    body = {"name": "work", "flow_id": flow, "schedules": [{"schedule": interval}]}
    made = api.post("deployments/", body)
    run = api.post(f"deployments/{made['id']}/create_flow_run", {"state": {"type": "COMPLETED"}})
    wait_for("run of the scheduler", lambda: scheduled(api), 120)
    copy_run(server, run["id"], MANUAL_RUNS)
    return made


def database_of(server: PrefectProcess) -> Path:
    return Path(server.environment["PREFECT_HOME"]) / "prefect.db"


def copy_run(server: PrefectProcess, run_id: str, count: int) -> None:
    """Have a run many times, as if each had been started by hand: over the API that would take long."""
    with closing(sqlite3.connect(database_of(server), timeout=120)) as connection:
        columns: list[str] = [row[1] for row in connection.execute("PRAGMA table_info(flow_run)")]
        own = {"id": "?", "name": "?", "state_id": "NULL"}
        chosen = ", ".join(own.get(column, column) for column in columns)
        connection.executemany(
            f"INSERT INTO flow_run ({', '.join(columns)}) SELECT {chosen} FROM flow_run WHERE id = ?",
            [(str(one), f"run-{one}", run_id) for one in (uuid.uuid4() for _ in range(count))],
        )
        connection.commit()


def scheduled(api: Api) -> list[dict[str, Any]]:
    runs = api.everything("flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})
    return [run for run in runs if run["auto_scheduled"]]


def test_scheduler_is_well_however_many_runs_were_started_by_hand(
    server: PrefectProcess, deployment: dict[str, Any]
) -> None:
    assert Api(server.url).post("flow_runs/count") > MANUAL_RUNS
    [line] = [line for line in run_lines(PrefectApi(server.url)) if line.startswith("scheduler")]
    assert re.fullmatch(r"scheduler       made its last run \d+ (s|min) ago", line)


def test_restored_database_has_every_run_that_had_begun_and_no_tick_that_had_not(
    server: PrefectProcess, deployment: dict[str, Any], tmp_path: Path
) -> None:
    api = Api(server.url)
    ticks = iter(scheduled(api))
    named = {name: next(ticks)["id"] for name in {**BEGUN, **NOT_BEGUN}}
    again, ahead = next(ticks)["id"], next(ticks)["id"]
    for name, kind in {**BEGUN, **NOT_BEGUN}.items():
        state = {"state": {"type": kind, "name": name}, "force": True}
        api.post(f"flow_runs/{named[name]}/set_state", state)
    file = tmp_path / "prefect.db"
    SqliteDatabase(database_of(server)).dump(file)
    with closing(sqlite3.connect(file)) as connection:
        overdue = (*named.values(), again)
        connection.execute(
            "UPDATE flow_run SET expected_start_time = '2026-01-01 00:00:00.000000' "
            f"WHERE id IN ({','.join('?' * len(overdue))})",
            overdue,
        )
        connection.execute("UPDATE flow_run SET run_count = 1 WHERE id = ?", (again,))
        connection.commit()

    database = SqliteDatabase(tmp_path / "server" / "prefect.db")
    database.load(file)
    database.switch()
    with closing(sqlite3.connect(tmp_path / "server" / "prefect.db")) as connection:
        left = {row[0] for row in connection.execute("SELECT id FROM flow_run")}
    assert {name for name, one in named.items() if one in left} == set(BEGUN)
    assert {again, ahead} <= left
