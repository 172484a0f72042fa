"""A team's folder outside of the checkout, CONFIG_DIR: its deployments, variables and packages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platforms import Platform, commit

# Beside the other tests of the platform, so that all of them share one running platform.
pytestmark = [pytest.mark.long_locally, pytest.mark.xdist_group("platform"), pytest.mark.timeout(1800)]

FLOW = """
import os

import pyfiglet
from prefect import flow


@flow(name="write-large", log_prints=True)
def write_large(greeting: str = os.environ["GREETING"]) -> None:
    print(f"{greeting} in {len(pyfiglet.figlet_format(greeting).splitlines())} lines")
"""
PREFECT_YAML = """
name: team
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
      branch: "{{ $FLOWS_GIT_REF }}"
deployments:
  - name: write-large
    entrypoint: flows/team/write_large.py:write_large
    tags: ["{{ $TEAM }}"]
    work_pool: {name: yeedu-pool}
"""
FLOWS_ENV = "# of all our flows\nTEAM=finance\nGREETING=Hello, ${TEAM}\n"


@pytest.fixture
def team(tmp_path: Path) -> Path:
    folder = tmp_path / "our team"
    folder.mkdir(mode=0o755)
    (folder / "prefect.yaml").write_text(PREFECT_YAML)
    (folder / "flows.env").write_text(FLOWS_ENV)
    (folder / "requirements.txt").write_text("pyfiglet\n")
    return folder


def deployer(platform: Platform, team: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type the command of this form of the platform, which repeats neither program nor file."""
    command = ["docker", "compose", "--progress", "quiet", "run", "--rm", "deployer", *arguments]
    if platform.kind == "local":
        command = [sys.executable, "-m", "local", arguments[0], "--", *arguments[1:]]
    return platform.command(*command, environment={"CONFIG_DIR": str(team)})


def test_a_teams_folder_is_all_that_a_team_changes(platform: Platform, team: Path) -> None:
    checkout, environment = platform.checkout, {"CONFIG_DIR": str(team)}
    (checkout / "flows" / "team").mkdir()
    (checkout / "flows" / "team" / "write_large.py").write_text(FLOW)
    commit(checkout, "Add a team's flow")
    for command, seconds in (("lock", 300), ("up", 600)):
        done = platform.command(
            sys.executable, "-m", "local", command, environment=environment, timeout_seconds=seconds
        )
        assert done.returncode == 0, done.stdout + done.stderr
    changed = platform.must("git", "status", "--porcelain", "--untracked-files=no")
    assert changed == "", "a later `git pull` of the platform would meet these"

    made = platform.api.deployments()["write-large"]
    assert made["tags"] == ["finance"]
    run = platform.api.run("write-large")
    assert run["state_type"] == "COMPLETED", platform.api.log(run["id"])
    assert "Hello, finance in " in platform.api.log_with(run["id"], "Hello, finance in ")

    planned = deployer(platform, team, "plan")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "deployment: write-large: unchanged" in planned.stdout
    status = deployer(platform, team, "status", "--json", "--only", "team/*")
    assert status.returncode == 0, status.stderr
    assert "write-large" in str(json.loads(status.stdout))

    (team / "flows.env").write_text(f"{FLOWS_ENV}PREFECT_LOGGING_LEVEL=DEBUG\n")
    refused = deployer(platform, team, "plan")
    assert refused.returncode == 1
    assert "flows.env:4: PREFECT_LOGGING_LEVEL is the platform's; it belongs into .env" in refused.stderr

    platform.api.delete(f"deployments/{made['id']}")
    platform.up()  # with the platform's own folder again
