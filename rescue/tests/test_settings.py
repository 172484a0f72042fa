"""The service's settings, and its command."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.platforms import free_port, wait_for
from yeedu_rescue.errors import SettingError
from yeedu_rescue.settings import Settings

API = {"PREFECT_API_URL": "http://server:4200/api/"}


def test_environment_sets_every_setting() -> None:
    given = {
        "RESCUE_INTERVAL_SECONDS": "1",
        "RESCUE_HEARTBEAT_SECONDS": "120",
        "RESCUE_PENDING_SECONDS": "60",
        "RESCUE_ATTEMPTS": "0",
        "RESCUE_WORKER_SECONDS": "0",
        "RESCUE_PORT": "9000",
        "RESCUE_WORK_POOLS": "one, two",
        "PREFECT_API_AUTH_STRING": "a:b",
        "PREFECT_API_KEY": "key",
    }
    assert Settings.from_environment({**API, **given}) == Settings(
        *("http://server:4200/api", "a:b", 1, 120, 60),
        attempts=0,
        worker_seconds=0,
        port=9000,
        api_key="key",
        work_pools=("one", "two"),
    )
    assert Settings.from_environment(API) == Settings("http://server:4200/api")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "PREFECT_API_URL='' is not an address"),
        ({**API, "RESCUE_PENDING_SECONDS": "soon"}, "RESCUE_PENDING_SECONDS='soon' is not a number of"),
        ({**API, "RESCUE_PENDING_SECONDS": "nan"}, "RESCUE_PENDING_SECONDS='nan'"),
        ({**API, "RESCUE_INTERVAL_SECONDS": "0"}, "RESCUE_INTERVAL_SECONDS='0'"),
        ({**API, "RESCUE_ATTEMPTS": "1.5"}, "RESCUE_ATTEMPTS='1.5' is not a whole number"),
        ({**API, "RESCUE_HEARTBEAT_SECONDS": "40"}, "too short"),
        ({**API, "RESCUE_PORT": "70000"}, "RESCUE_PORT='70000' is no port: the highest is 65535"),
    ],
)
def test_mistake_names_the_setting(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings.from_environment(environment)


def start(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "yeedu_rescue"], env=environment, stdout=output, stderr=output
        )


def check(environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "yeedu_rescue.healthcheck"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def told(environment: dict[str, str]) -> tuple[int, Any]:
    answer = requests.get(f"http://127.0.0.1:{environment['RESCUE_PORT']}/", timeout=60)
    return answer.status_code, answer.json()


def environment_of(url: str, login: str = "admin:secret-of-the-test") -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PREFECT_API_URL": url,
        "RESCUE_PORT": str(free_port()),
        "RESCUE_INTERVAL_SECONDS": "0.2",
        "PREFECT_API_AUTH_STRING": login,
    }


def test_command_watches_tells_so_on_its_page_and_stops_when_told(obstacles: Any, tmp_path: Path) -> None:
    environment = environment_of(obstacles.url)
    log = tmp_path / "log"
    process = start(environment, log)
    try:
        wait_for("first round", lambda: check(environment) == 0, 100, 0.1)
        assert told(environment)[1]["troubles"] == []
        obstacles.is_away = True
        wait_for("outage", lambda: told(environment)[0] == 503, 60, 0.1)
        assert len(told(environment)[1]["troubles"]) == 1
        obstacles.is_away = False
        wait_for("return of the server", lambda: told(environment)[0] == 200, 60, 0.1)
        assert told(environment)[1]["troubles"] == []
        obstacles.answers["POST /api/flow_runs/filter"] = 403
        wait_for("trouble", lambda: told(environment)[0] == 503, 60, 0.1)
        assert "/flow_runs/filter: 403" in " ".join(told(environment)[1]["troubles"])
        assert check(environment) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert "secret-of-the-test" not in log.read_text()
    assert check(environment) == 1


def test_refused_login_ends_the_command_with_one_sentence(prefect: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert start(environment_of(prefect.url, "admin:canary"), log).wait(timeout=60) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("rescue: ")
    assert f" {prefect.url}/" in last
    assert "401 the server rejects the login; check PREFECT_API_AUTH_STRING or its file" in last
    assert "Traceback" not in log.read_text()
    assert "canary" not in log.read_text()
