"""The server of a trial works by itself: without services, and without what several servers share."""

from pathlib import Path

import requests
import yaml

from local.upgrade import trial
from tests.prefect_process import PrefectProcess


def test_server_of_a_trial_starts_on_a_copy_of_whatever_database(tmp_path: Path) -> None:
    with PrefectProcess(tmp_path, trial.ALONE) as server:
        assert requests.get(f"{server.url}/health/services", timeout=60).status_code == 200


def test_container_of_a_trial_is_told_the_same() -> None:
    overlay = yaml.safe_load(trial.OVERLAY.replace("!reset", ""))
    assert overlay["services"]["server"]["environment"] == trial.ALONE
