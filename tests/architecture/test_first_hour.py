"""What a contributor meets first: the dev container, the commit's hooks, and what `make check` runs."""

import json
import re
import subprocess

import yaml

from tests.pages import ROOT, text

HOOKS = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]


def test_dev_container_has_the_oldest_python_and_what_ci_installs() -> None:
    container = json.loads(text(".devcontainer/devcontainer.json"))
    [oldest] = re.findall(r'(?m)^pythonVersion = "(.*)"', text("pyproject.toml"))
    assert container["image"] == f"python:{oldest}"
    packages = set(re.findall(r"\bneed \S+ (\S+)", text(".ci/run"))) - {"git", "make"}
    assert packages
    assert packages <= set(container["postCreateCommand"].split())


def test_hooks_of_a_commit_fetch_nothing_and_are_there() -> None:
    subprocess.run([ROOT / ".venv/bin/pre-commit", "validate-config"], cwd=ROOT, check=True)
    assert [one["repo"] for one in HOOKS] == ["local"]
    for hook in HOOKS[0]["hooks"]:
        assert hook["language"] == "system"
        program = hook["entry"].split()[0]
        assert program == "make" or (ROOT / program).exists()


def test_make_check_names_tests_that_are_there() -> None:
    printed = subprocess.check_output(["make", "--dry-run", "check"], cwd=ROOT, text=True)
    [line] = [line for line in printed.splitlines() if "/pytest " in line]
    paths = [word for word in line.split()[1:] if not word.startswith("-")]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
