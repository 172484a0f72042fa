"""The server's patches are in force on the Prefect of the locks; on another one, Prefect's own way runs."""

import json
import subprocess
import sys
from pathlib import Path

import requests

from tests.prefect_process import PrefectProcess

SERVER = Path(__file__).parents[1]
UNKNOWN = "import prefect\nprefect.__version__ = '3.99.0'\n"
REPORT = """
import json
from dataclasses import asdict
from patches import report
print(json.dumps([asdict(state) for state in report()]))
"""


def test_every_patch_is_in_force_on_the_prefect_of_the_locks() -> None:
    command = [sys.executable, "-c", REPORT]
    states = json.loads(subprocess.run(command, cwd=SERVER, check=True, capture_output=True).stdout)
    assert {state["name"]: state["why"] for state in states if state["state"] != "in force"} == {}
    assert len({state["name"] for state in states}) == len(states) == 7
    assert all(state["replaces"] and state["why"] for state in states)


def test_server_of_a_prefect_that_it_does_not_know_serves_as_that_does_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "pretended").mkdir()
    (tmp_path / "pretended" / "sitecustomize.py").write_text(UNKNOWN)
    settings = {"PYTHONPATH": str(tmp_path / "pretended")}
    with PrefectProcess(tmp_path, settings) as server:
        answer = requests.get(f"{server.url}/health/services", timeout=60)
        assert requests.post(f"{server.url}/flows/filter", json={}, timeout=60).json() == []
    assert answer.status_code == 200
    told = answer.json()["patches_left_out"]
    assert told.startswith("Prefect's own code runs in place of one round trip, locks of SQLite, ")
    assert told.endswith("(Prefect 3.99.0 is not known, 3.9.1 is)")
    assert server.log().count(f"server: {told}\n") == 1
