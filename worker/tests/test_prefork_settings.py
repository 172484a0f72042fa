"""What the prefork server works out of a run's environment is what the run's own process would make of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from own_process import run_python

WORK_OUT = """
import json, os, sys
from prefect.context import root_settings_context
from prefect.logging import configuration
from yeedu_worker.patches.run_settings import SettingsOfRuns

asked = json.loads(sys.argv[1])
own = dict(os.environ), os.getcwd()
known, answers = SettingsOfRuns(), []
for variables, folder in asked:
    environment = {os.fsencode(name): os.fsencode(value) for name, value in {**own[0], **variables}.items()}
    found = known.of(environment, os.fsencode(folder))
    answers.append(found and [found.context.settings.to_environment_variables(), found.logging])
assert (dict(os.environ), os.getcwd()) == own
print(json.dumps([answers, len(known._known)]))
"""
READ = """
import json
from prefect.context import root_settings_context
from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH, load_logging_config
from prefect.settings import get_current_settings

variables = get_current_settings().to_environment_variables()
print(json.dumps([variables, load_logging_config(DEFAULT_LOGGING_SETTINGS_PATH)]))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def worked_out(home: Path, folder: Path, *asked: tuple[dict[str, str], Path]) -> tuple[list[Any], int]:
    answers, known = run_python(
        WORK_OUT, home, json.dumps([[variables, str(where)] for variables, where in asked]), folder=folder
    )
    return answers, known


def test_settings_and_logging_are_those_of_a_process_of_its_own(home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    kinds: list[dict[str, str]] = [
        {"PREFECT_API_URL": "http://one/api"},
        {"PREFECT_API_URL": "http://two/api", "PREFECT_LOGGING_LEVEL": "DEBUG"},
        {"prefect_flows_default_retries": "3", "PREFECT_LOGGING_ROOT_LEVEL": "ERROR"},
    ]
    answers, _ = worked_out(home, tmp_path, *[(kind, empty) for kind in kinds])
    for kind, answer in zip(kinds, answers, strict=True):
        assert answer == run_python(READ, home, folder=empty, **kind), kind


def test_what_tells_one_run_from_another_is_no_setting(home: Path, tmp_path: Path) -> None:
    runs = [({"PREFECT__FLOW_RUN_ID": str(number), "MY_OWN": str(number)}, tmp_path) for number in range(5)]
    answers, known = worked_out(home, tmp_path, *runs)
    assert all(answers)
    assert known == 1


def test_files_of_settings_are_left_to_the_run(home: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "1", tmp_path / "2", tmp_path / "3"]
    for folder, name in zip(folders, (".env", "prefect.toml", "pyproject.toml"), strict=True):
        folder.mkdir()
        (folder / name).write_text("")
    assert worked_out(home, tmp_path, *[({}, folder) for folder in folders])[0] == [None] * 3
    (home / "profiles.toml").write_text('active = "own"\n[profiles.own]\nPREFECT_LOGGING_LEVEL = "DEBUG"\n')
    assert worked_out(home, tmp_path, ({}, tmp_path))[0] == [None]


def test_complaints_are_left_to_the_run_whose_log_they_belong_to(home: Path, tmp_path: Path) -> None:
    wrong = {"PREFECT_API_REQUEST_TIMEOUT": "soon"}
    unknown = {"PREFECT_PROFILE": "no-such-profile"}
    answers, known = worked_out(
        home, tmp_path, (wrong, tmp_path), (unknown, tmp_path), ({}, tmp_path / "gone")
    )
    assert answers == [None] * 3
    assert known == 3


def test_few_environments_are_remembered(home: Path, tmp_path: Path) -> None:
    asked = [({"PREFECT_API_URL": f"http://server-{number}/api"}, tmp_path) for number in range(20)]
    answers, known = worked_out(home, tmp_path, *asked)
    assert all(answers)
    assert known == 16
