"""Slots of concurrency limits in a database that is older than what is known of their holders."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from local.api import PrefectApi
from local.backup.databases import SqliteDatabase
from local.containers.slots import taken
from local.upgrade.copies import SqliteCopy
from tests.platforms import Api
from tests.prefect_process import PrefectProcess

LIMIT = {"name": "loads", "limit": 1}
TAKING = "v2/concurrency_limits/increment-with-lease"
TAKEN = {"names": [LIMIT["name"]], "slots": 1}


def slots(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT active_slots FROM concurrency_limit_v2")]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a server that has stopped while its limit's one slot was taken."""
    home = tmp_path_factory.mktemp("server")
    with PrefectProcess(home) as server:
        api = Api(server.url)
        api.post("v2/concurrency_limits/", LIMIT)
        api.post(TAKING, TAKEN)
        assert api.ask("POST", TAKING, TAKEN).status_code == 423
        assert [one["name"] for one in taken(PrefectApi(server.url))] == ["loads"]
    file = home / "prefect.db"
    assert slots(file) == [1]
    return file


def test_slot_is_free_in_a_database_that_is_restored(file: Path, tmp_path: Path) -> None:
    SqliteDatabase(file).dump(tmp_path / "dump")
    restored = SqliteDatabase(tmp_path / "prefect.db")
    restored.load(tmp_path / "dump")
    restored.switch()
    assert slots(tmp_path / "prefect.db") == [0]


def test_slot_is_free_in_a_copy_that_is_put_back(file: Path) -> None:
    copy = SqliteCopy(file)
    copy.make()
    copy.put_back()
    assert slots(file) == [0]
