"""What releases are made by: workflows, and what moves versions between them."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.bundle.bundle import FOLDER, INSTALLER
from tests.pages import text

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RENOVATE: dict[str, Any] = json.loads((ROOT / ".github" / "renovate.json").read_text(encoding="utf-8"))
BASES = {"PYTHON_IMAGE": "python:3.13-slim", "POSTGRES_IMAGE": "postgres:17"}


def jobs(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflow_may_write_only_in_jobs_that_say_so(file: Path) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        for step in job.get("steps", []):
            # What an event says is data, and never part of a script.
            assert "${{" not in step.get("run", ""), f"{name}: {step['run']}"


def test_job_that_runs_tests_leaves_none_out_for_want_of_an_engine() -> None:
    """Without it, a job whose machine has no Docker engine skips every test that needs one, and is green."""
    assert "REQUIRE_DOCKER=1 make test " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    found = [
        (name, step.get("env", {}).get("REQUIRE_DOCKER"))
        for file in WORKFLOWS
        for name, job in jobs(file).items()
        for step in job.get("steps", [])
        if re.search(r"\bmake test\b", step.get("run", ""))
    ]
    assert sorted(found) == [("faults", "1"), ("test-on-the-images-python", "1")]


def test_actions_are_of_one_major_version_each() -> None:
    used = {
        tuple(step["uses"].split("@"))
        for file in WORKFLOWS
        for job in jobs(file).values()
        for step in job.get("steps", [])
        if "uses" in step
    }
    assert len({action for action, _ in used}) == len(used), used
    assert all(re.fullmatch(r"v\d+", version) for _, version in used), used


def test_job_that_runs_new_packages_may_write_nothing() -> None:
    update = jobs(ROOT / ".github" / "workflows" / "update.yml")
    assert "permissions" not in update["lock"]
    assert ".ci/run" in [step.get("run") for step in update["lock"]["steps"]]
    steps = update["lock"]["steps"]
    uploads = [number for number, step in enumerate(steps) if "upload-artifact" in step.get("uses", "")]
    [test] = [number for number, step in enumerate(steps) if step.get("run") == ".ci/run"]
    assert max(uploads) < test, "what is proposed is out of reach of the new packages by then"
    [commands] = [step["run"] for step in update["propose"]["steps"] if "run" in step]
    assert not re.search(r"\b(make|python3?|\.ci/run|uv|pip)\b", commands)


def test_release_is_tested_before_anything_is_published() -> None:
    release = jobs(ROOT / ".github" / "workflows" / "release.yml")
    assert release["test"]["uses"] == "./.github/workflows/ci.yml"

    def needs(job: str) -> set[str]:
        said = release[job].get("needs", [])
        direct = {said} if isinstance(said, str) else set(said)
        return direct | {further for one in direct for further in needs(one)}

    writing = {name for name, job in release.items() if "write" in job.get("permissions", {}).values()}
    assert writing == {"build", "sign", "publish"}
    for name in writing:
        assert "test" in needs(name), name


def test_locks_are_all_that_an_update_may_change(tmp_path: Path) -> None:
    """By git itself, with the options of the workflow."""
    update = jobs(ROOT / ".github" / "workflows" / "update.yml")
    [commands] = [step["run"] for step in update["propose"]["steps"] if "run" in step]
    [apply] = [line for line in commands.splitlines() if line.startswith("git apply ")]
    files = ("requirements/dev.txt", "requirements/extras/etl.txt", "requirements/lock", "Makefile")

    def run(command: str) -> str:
        environment = {**os.environ, "RUNNER_TEMP": str(tmp_path)}
        done = subprocess.run(
            ["bash", "-ec", command], cwd=tmp_path, env=environment, check=True, capture_output=True
        )
        return done.stdout.decode()

    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old\n")
    run("git init --quiet && git add --all")
    for name in files:
        (tmp_path / name).write_text("new\n")
    run("git diff --binary >locks.patch && git checkout --quiet . && rm -f .git/index.lock")
    run(apply)
    changed = {name for name in files if (tmp_path / name).read_text() == "new\n"}
    assert changed == {"requirements/dev.txt", "requirements/extras/etl.txt"}


def test_release_has_the_long_tests_and_takes_its_own_files_alone() -> None:
    test = jobs(ROOT / ".github" / "workflows" / "ci.yml")["test"]
    [variables] = [step["env"] for step in test["steps"] if step.get("run") == ".ci/run"]
    assert "github.ref_type == 'tag'" in variables["LONG_TESTS"]
    steps = jobs(ROOT / ".github" / "workflows" / "release.yml")["publish"]["steps"]
    taken = [step["with"] for step in steps if "download-artifact" in step.get("uses", "")]
    assert [one.get("name") or one.get("pattern") for one in taken] == ["images", "bundle-*"]


def test_base_images_are_found_wherever_they_are_named() -> None:
    """By the workflow that records their digests, and by what proposes others."""
    [manager] = RENOVATE["customManagers"]
    [pattern] = [one.replace("(?<", "(?P<") for one in manager["matchStrings"]]
    files = [re.compile(one.strip("/")) for one in manager["managerFilePatterns"]]
    found: dict[str, int] = {}
    for file in (*ROOT.glob("*/Dockerfile"), *ROOT.glob("docker-compose*.yaml"), ROOT / ".env.example"):
        name = str(file.relative_to(ROOT))
        assert any(one.search(name) for one in files), name
        content = file.read_text(encoding="utf-8")
        here = [f"{one['depName']}:{one['currentValue']}" for one in re.finditer(pattern, content)]
        assert len(here) == sum(content.count(base) for base in BASES.values()), name
        for base in here:
            found[base] = found.get(base, 0) + 1
    assert found.keys() == set(BASES.values())
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for setting, base in BASES.items():
        assert f"\n#{setting}={base}\n" in example


def test_python_packages_are_no_bots() -> None:
    assert set(RENOVATE["enabledManagers"]) == {"github-actions", "custom.regex"}
    assert not (ROOT / ".github" / "dependabot.yml").exists()


def test_page_says_what_the_installer_says() -> None:
    script = (ROOT / "deploy" / INSTALLER).read_text(encoding="utf-8")
    page = text("docs/offline.md")
    assert "is damaged: images.tar.zst: FAILED; unpack it again, or fetch it again" in page
    assert "; unpack it again, or fetch it again" in script
    assert f'"$target/{FOLDER}"' in script
    assert f"`{FOLDER}`" in page
    assert f"\n{FOLDER}/\n" in (ROOT / ".gitignore").read_text(encoding="utf-8")
