"""What `make status` says about flow runs, the scheduler and space."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.api import ApiUnavailableError, PrefectApi
from local.status.metrics import run_lines, sqlite_lines


class Answers(PrefectApi):
    """Answers as the server does for runs that are in the given states."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        super().__init__("http://127.0.0.1:1/api")
        self._runs = runs

    def post(self, path: str, body: dict[str, Any]) -> Any:
        state = body.get("flow_runs", {}).get("state", {})
        wanted = {*state.get("type", {}).get("any_", []), *state.get("name", {}).get("any_", [])}
        found = [run for run in self._runs if not wanted or run["state"] in wanted]
        return len(found) if path == "/flow_runs/count" else found[: body["limit"]]


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


def test_runs_that_hang_and_the_schedulers_age_are_told() -> None:
    late = {"state": "Late", "expected_start_time": ago(hours=3), "created": ago(hours=4)}
    running = {"state": "RUNNING", "expected_start_time": ago(minutes=9), "created": ago(minutes=8)}
    api = Answers([{**late, "auto_scheduled": True}, {**running, "auto_scheduled": False}])
    assert list(run_lines(api)) == [
        "runs running    1, the first since 9 min",
        "runs starting   0",
        "runs late       1, the first since 3 h",
        "runs crashed    0",
        "scheduler       made its last run 4 h ago",
    ]


def test_server_that_does_not_answer_is_said() -> None:
    class Away(Answers):
        def post(self, path: str, body: dict[str, Any]) -> Any:
            raise ApiUnavailableError("it does not answer")

    assert list(run_lines(Away([]))) == ["runs            unknown: it does not answer"]


def test_sizes_of_a_local_database_and_of_folders_are_told(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    connection = sqlite3.connect(tmp_path / "server" / "prefect.db")
    with connection:
        connection.execute("CREATE TABLE log (message TEXT)")
        connection.executemany("INSERT INTO log VALUES (?)", [("x" * 1000,)] * 300)
    connection.close()
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "clone").write_bytes(b"x" * 2_000_000)
    lines = list(sqlite_lines(tmp_path))
    assert lines[0] == "database        0.3 MB"
    assert f"worker          2.0 MB in {tmp_path.name}/worker" in lines
