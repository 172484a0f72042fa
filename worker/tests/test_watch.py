"""The platform's watcher starts `yeedu-watch` when there is something to watch, and not before."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from prefect_processes import PrefectServer

from prefect_yeedu.flow_run.record_fields import pause_key
from tests.platforms import free_port, wait_for
from yeedu_worker.watch import PAUSE, is_anything_to_watch, watch

COMMAND = [sys.executable, "-m", "yeedu_worker.watch"]


def suspended(server: PrefectServer, key: str) -> str:
    """Return a flow run of a deployment that is suspended with a pause's key."""
    name = f"watched-{uuid.uuid4().hex[:8]}"
    flow = server.api.post("flows/", {"name": name})["id"]
    deployment = server.api.post("deployments/", {"name": name, "flow_id": flow})["id"]
    run = server.api.post(f"deployments/{deployment}/create_flow_run", {"state": {"type": "PENDING"}})["id"]
    pause = {"pause_key": key, "pause_reschedule": True}
    for state in (
        {"type": "RUNNING"},
        {"type": "PAUSED", "name": "Suspended", "state_details": pause},
    ):
        server.api.post(f"flow_runs/{run}/set_state", {"state": state})
    assert server.state(run) == "PAUSED"
    return run


def test_only_a_pause_for_a_yeedu_run_is_anything_to_watch(server: PrefectServer) -> None:
    environment = {"PREFECT_API_URL": server.url}
    assert not is_anything_to_watch(environment)
    runs = [suspended(server, "1")]
    assert not is_anything_to_watch(environment)
    runs.append(suspended(server, pause_key(uuid.uuid4())))
    assert is_anything_to_watch(environment)
    for run in runs:
        server.cancel(run)
    assert not is_anything_to_watch(environment)


def test_a_key_begins_as_the_operator_s_does() -> None:
    assert pause_key(uuid.uuid4()).startswith(PAUSE)


def test_the_program_is_started_for_it_and_ends_with_this_one(server: PrefectServer, tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "round"
    environment = {**server.environment(), "YEEDU_WATCH_SECONDS": "0.2", "YEEDU_WATCH_FILE": str(file)}
    check = [*COMMAND, "--check"]
    assert subprocess.run(check, env=environment, check=False).returncode == 1, "it has not looked yet"
    with log.open("wb") as output:
        process = subprocess.Popen(COMMAND, env=environment, stdout=output, stderr=output)
        try:
            wait_for("a look", file.exists, 60, 0.05)
            assert subprocess.run(check, env=environment, check=False).returncode == 0
            assert log.read_text() == ""
            run = suspended(server, pause_key(uuid.uuid4()))
            wait_for("the program", lambda: "Watching for suspended" in log.read_text(), 60, 0.1)
            wait_for("what is wrong", lambda: "its record is gone" in log.read_text(), 60, 0.1)
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert run in log.read_text()
    server.cancel(run)


def test_a_server_that_is_away_is_told_once_and_asked_again(tmp_path: Path) -> None:
    told: list[str] = []
    is_ended = threading.Event()
    file = tmp_path / "round"
    settings: dict[str, Any] = {
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        "YEEDU_WATCH_SECONDS": "0.01",
        "YEEDU_WATCH_FILE": str(file),
    }
    thread = threading.Thread(target=watch, args=(is_ended, settings, told.append))
    thread.start()
    wait_for("a round", file.exists, 60, 0.01)
    first = file.stat().st_mtime_ns
    wait_for("further rounds", lambda: file.stat().st_mtime_ns > first, 60, 0.01)
    is_ended.set()
    thread.join()
    assert len(told) == 1
    assert "Retrying to ask the Prefect server for suspended flow runs: " in told[0]


@pytest.mark.parametrize("seconds", ["often", "0", "61", "1.2.3", "-5"])
def test_an_interval_that_is_none_is_refused_in_one_sentence(seconds: str) -> None:
    environment = {**os.environ, "YEEDU_WATCH_SECONDS": seconds}
    answer = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    sentence = f"YEEDU_WATCH_SECONDS is '{seconds}', but it is a number of seconds, from 0.1 to 60.\n"
    assert answer.stderr == sentence
