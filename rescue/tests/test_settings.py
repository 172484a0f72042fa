"""The service's knobs, and its command."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest

from yeedu_rescue.errors import SettingError
from yeedu_rescue.settings import Settings


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


API = {"PREFECT_API_URL": "http://server:4200/api/"}


def test_environment_sets_every_knob() -> None:
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
    ],
)
def test_mistake_names_the_knob(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings.from_environment(environment)


def test_command_watches_tells_so_on_its_page_and_stops_when_told(prefect: Any, tmp_path: Any) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PREFECT_API_URL": prefect.url,
        "RESCUE_PORT": str(free_port()),
        "PREFECT_API_AUTH_STRING": "admin:secret-of-the-test",
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "yeedu_rescue"], env=environment, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 20
        while "the server answers" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        with urllib.request.urlopen(f"http://127.0.0.1:{environment['RESCUE_PORT']}/") as page:
            assert json.load(page)["trouble"] == ""
        check = [sys.executable, "-m", "yeedu_rescue.healthcheck"]
        assert subprocess.run(check, env=environment, check=False).returncode == 0
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert "secret-of-the-test" not in log.read_text()
    assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 1
