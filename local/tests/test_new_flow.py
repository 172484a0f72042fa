"""A new flow: its files, its entry in prefect.yaml, and the names that are refused."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.console import Console
from local.deployments.new_flow import LONGEST_NAME, declaring_file, make_new_flow, with_deployment
from local.errors import CommandError
from local.settings.platform import ROOT, Settings
from yeedu_deployer.declared.prefect_yaml import load_file

URLS = {name: f"http://yeedu/{name}" for name in ("YEEDU_JOB_URL", "YEEDU_NOTEBOOK_URL", "YEEDU_HEALTH_URL")}
PREFECT_FILE = "deployer/prefect.yaml"
NAMES = {
    "streets/count_potholes": "flows/streets",
    "parking/count_permits": "flows/parking",
    "count_visitors": "flows",
    "template_like/my_template": "flows/template_like",
    f"x/{'a' * LONGEST_NAME}": "flows/x",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the command needs of a checkout, and what its tests need."""
    ignored = shutil.ignore_patterns("__pycache__", "tests", "conftest.py")
    shutil.copytree(ROOT / "flows", tmp_path / "flows", ignore=ignored)
    shutil.copytree(ROOT / "flows/template/tests", tmp_path / "flows/template/tests")
    for folder in ("requirements", "local", "deployer"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "tests", "src")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shown = "worker/src/yeedu_worker/printable.py"
    (tmp_path / shown).parent.mkdir(parents=True)
    shutil.copy(ROOT / shown, tmp_path / shown)
    return tmp_path


def make(checkout: Path, name: str) -> None:
    make_new_flow(checkout, name, checkout / PREFECT_FILE, Console())


@pytest.mark.parametrize("name", NAMES)
def test_flow_module_test_and_deployment_are_written(checkout: Path, name: str) -> None:
    before = (checkout / PREFECT_FILE).read_text(encoding="utf-8")
    existing = load_file(checkout / PREFECT_FILE, URLS).deployments

    make(checkout, name)

    folder, own = NAMES[name], name.rpartition("/")[2]
    text = (checkout / folder / f"{own}.py").read_text(encoding="utf-8")
    assert f'@flow(name="{own.replace("_", "-")}", log_prints=True)\ndef {own}(text: str' in text
    assert f"from scripts.{own}_steps import count_words" in text
    test = (checkout / folder / "tests" / f"test_{own}.py").read_text(encoding="utf-8")
    assert f"run = {own}.{own}\n" in test
    *others, new = load_file(checkout / PREFECT_FILE, URLS).deployments
    assert tuple(others) == existing
    assert (new.name, new.says.entrypoint) == (own.replace("_", "-"), f"{folder}/{own}.py:{own}")
    assert (new.says.work_pool.name, new.says.schedules) == ("yeedu-pool", ())
    assert (checkout / PREFECT_FILE).read_text(encoding="utf-8").startswith(before.rstrip())


def test_what_is_written_is_as_clean_as_the_template(checkout: Path) -> None:
    for name in NAMES:
        make(checkout, name)
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "flows"],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_the_next_commands_are_printed(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(checkout, "streets/count_potholes")
    said = capsys.readouterr().out
    commands = re.findall(r"(?m)^  (.*)$", said)
    assert commands[:2] == ["make install", ".venv/bin/python flows/streets/count_potholes.py"]
    assert commands[-2:] == ['git commit --message "Add count-potholes"', "make deploy"]
    add = next(command for command in commands if command.startswith("git add "))
    assert all((checkout / file).is_file() for file in add.split()[2:])


def test_the_deployment_goes_into_the_teams_own_file_and_the_rest_of_it_stays(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    team = tmp_path_factory.mktemp("our team")
    text = "# ours\nname: team\ndeployments:\n- {name: a, entrypoint: 'a.py:a'} # kept\n\n# the end\n"
    (team / "prefect.yaml").write_text(text)
    file = declaring_file(Settings({"CONFIG_DIR": str(team)}))
    make_new_flow(checkout, "streets/count_potholes", file, Console())
    entry = file.read_text().partition("# kept\n")[2]
    assert file.read_text().replace(entry, "\n# the end\n") == text
    assert "entrypoint: flows/streets/count_potholes.py:count_potholes" in entry
    said = capsys.readouterr().out
    [add] = re.findall(r"(?m)^  (git add .*)$", said)
    assert "prefect.yaml" not in add
    assert f"git -C '{team}' commit --message 'Add count-potholes' prefect.yaml" in said


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        ({}, "deployer/prefect.yaml"),
        ({"PREFECT_FILE": "README.md", "CONFIG_DIR": "./flows"}, "README.md"),
        ({"PREFECT_FILE": "requirements.txt", "CONFIG_DIR": "./flows"}, "flows/requirements.txt"),
        ({"PREFECT_FILE": "deployer/work-pools.yaml"}, "deployer/work-pools.yaml"),
        ({"PREFECT_FILE": "repo:deployer/prefect.yaml"}, "deployer/prefect.yaml"),
    ],
)
def test_the_file_is_the_one_that_is_deployed(settings: dict[str, str], file: str) -> None:
    assert declaring_file(Settings(settings)) == ROOT / file


def test_a_file_of_another_repository_is_written_there() -> None:
    other = {"PREFECT_FILE": "repo:prefect.yaml", "FLOWS_GIT_URL": "https://me:hidden@git.example/flows.git"}
    with pytest.raises(CommandError, match="write the flow in a clone of it") as caught:
        declaring_file(Settings(other))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "name the flow: make new-flow NAME=project/name"),
        ("Streets/count", "'Streets' is not a snake_case name"),
        ("streets/count-potholes", "'count-potholes' is not a snake_case name"),
        ("streets/count__potholes", "is not a snake_case name"),
        ("streets/../count", "a flow has one project at most"),
        ("../count_potholes", "'..' is not a snake_case name"),
        ("/count_potholes", "'' is not a snake_case name"),
        (f"streets/{'a' * (LONGEST_NAME + 1)}", "of at most 40 characters"),
        ("streets/lambda", "'lambda' is a Python keyword"),
        ("streets/match", "'match' is a Python keyword"),
        ("streets/json", "'json' would shadow what flows import"),
        ("streets/print", "'print' would shadow what flows import"),
        ("streets/prefect", "'prefect' would shadow what flows import"),
        ("streets/prefect_github", "'prefect_github' would shadow what flows import"),
        ("streets/count", "'count' would shadow what flows import"),
        ("scripts/count_potholes", "'scripts' is reserved"),
        ("streets/template", "'template' is reserved"),
        ("print_message", "flows/print_message.py already exists"),
        ("streets/print_message", "flows/print_message.py already exists"),
        ("streets/run_shell_command_from_image", "has a deployment run-shell-command-from-image already"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_used_gets_one_sentence_and_writes_nothing(
    checkout: Path, name: str, reason: str
) -> None:
    before = {file: file.read_bytes() for file in checkout.rglob("*") if file.is_file()}
    with pytest.raises(CommandError) as caught:
        make(checkout, name)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in checkout.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (
            "name: x\ndeployments:\n- name: a\n",
            "name: x\ndeployments:\n- name: a\n\n- name: new\n  tags: []\n",
        ),
        (
            "deployments:\n    - name: a # one\n\n# the end\npull: []\n",
            "deployments:\n    - name: a # one\n\n    - name: new\n      tags: []\n\n# the end\npull: []\n",
        ),
        (
            "deployments:\r\n  - name: a",
            "deployments:\r\n  - name: a\r\n\r\n  - name: new\r\n    tags: []\r\n",
        ),
        ("deployments: # none yet\n", "deployments: # none yet\n  - name: new\n    tags: []\n"),
        ("deployments: []\n", None),
        ("name: x\n", None),
    ],
)
def test_an_entry_is_appended_in_the_files_own_layout(declared: str, expected: str | None) -> None:
    assert with_deployment(declared, "- name: new\n  tags: []\n") == expected


def test_the_command_needs_no_package(checkout: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "local", "new-flow", "streets/count_potholes"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "deployer/prefect.yaml: has the deployment count-potholes" in done.stdout
    refused = subprocess.run(
        [sys.executable, "-S", "-m", "local", "new-flow", "streets/count_potholes"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert (
        refused.stderr
        == "make new-flow: flows/streets/count_potholes.py already exists; choose another name\n"
    )
