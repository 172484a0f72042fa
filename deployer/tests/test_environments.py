"""Two environments of one repository side by side: own names, own code, own queue, own memory."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yeedu_deployer.environments import Environment, load_environment
from yeedu_deployer.errors import SpecError

pytestmark = pytest.mark.long

YAML = """
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
      branch: "{{ $FLOWS_GIT_REF }}"
deployments:
  - name: one
    entrypoint: flows/one.py:run
    tags: [first]
    parameters: {message: from production}
    work_pool: {name: yeedu-pool}
    schedules: [{cron: "*/5 * * * *", slug: often, active: %s}]
"""
STAGING = Environment(
    name="staging",
    branch="staging",
    suffix="-staging",
    tags=("staging",),
    work_queue="staging",
    has_active_schedules=False,
    parameters={"one": {"message": "from staging"}},
)
SAYS_WHERE_IT_IS_FROM = """
from prefect import flow

@flow(name="one", log_prints=True)
def run(message: str = "hello", count: int = 1):
    print("code:", {code!r}, "message:", message)
"""


@pytest.fixture
def two_branches(platform):
    platform.repository.commit({"flows/one.py": SAYS_WHERE_IT_IS_FROM.format(code="of main")})
    platform.repository.git("checkout", "--quiet", "-b", "staging")
    platform.repository.commit({"flows/one.py": SAYS_WHERE_IT_IS_FROM.format(code="of staging")})
    platform.repository.git("checkout", "--quiet", "main")


def test_an_environment_has_its_own_names_branch_queue_tags_and_parameters(platform, two_branches):
    platform.apply(YAML % "true")
    assert platform.outcomes(platform.apply(YAML % "true", chosen=STAGING)) == {"one-staging": "created"}

    production = platform.client.read_deployment_by_name("one/one")
    staging = platform.client.read_deployment_by_name("one/one-staging")
    assert (staging.tags, staging.work_queue_name) == (["first", "staging"], "staging")
    assert staging.parameters == {"message": "from staging"}
    assert [schedule.active for schedule in staging.schedules] == [False]
    inputs = staging.pull_steps[0]["prefect.deployments.steps.git_clone"]
    assert inputs == {"repository": "{{ $FLOWS_GIT_URL }}", "branch": "staging"}
    assert (production.tags, production.parameters) == (["first"], {"message": "from production"})

    for chosen in (None, STAGING):
        assert not platform.apply(YAML % "true", chosen=chosen, plan=True).changes_planned
    empty = YAML.partition("  - name: one")[0] + "  []"
    assert platform.outcomes(platform.apply(empty, chosen=STAGING)) == {"one-staging": "pruned"}
    assert platform.client.read_deployment_by_name("one/one").id == production.id


@pytest.mark.timeout(240)
def test_both_environments_run_their_own_code_at_the_same_time(platform, two_branches, tmp_path):
    platform.apply(YAML % "false")
    platform.apply(YAML % "false", chosen=STAGING)
    (tmp_path / "home").mkdir()
    runs = [
        platform.client.create_flow_run_from_deployment(platform.client.read_deployment_by_name(name).id)
        for name in ("one/one", "one/one-staging")
    ]

    command = ["prefect", "worker", "start", "--pool=yeedu-pool", "--name=test", "--run-once"]
    worker = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "FLOWS_GIT_URL": platform.repository.url,
            **platform.server.environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    said = worker.stdout + worker.stderr
    assert all(platform.client.read_flow_run(run.id).state.is_completed() for run in runs), said
    assert "code: of main message: from production" in said
    assert "code: of staging message: from staging" in said


def test_a_commit_as_the_reference_is_cloned_as_a_commit(platform, two_branches):
    commit = platform.repository.git("rev-parse", "staging")

    platform.apply(YAML % "false", environment={"FLOWS_GIT_REF": commit})

    step = platform.client.read_deployment_by_name("one/one").pull_steps[0]
    assert step["prefect.deployments.steps.git_clone"] == {
        "repository": "{{ $FLOWS_GIT_URL }}",
        "commit_sha": commit,
    }


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("stagin", "environments: {staging: {branch: a, suffix: b}}", "1: there is no environment 'stagin'; did you mean 'staging'?"),
        ("staging", "environments:\n  staging: {branch: a}", "2: environment 'staging': 'suffix' is missing."),
        ("staging", "environments:\n  staging: {brnch: a, suffix: b}", "2: environment 'staging': the key 'brnch' is unknown; did you mean 'branch'?"),
        ("staging", "environments:\n  staging: {branch: a, suffix: b, parameters: {onee: {}}}", "2: environment 'staging': there is no deployment 'onee'; did you mean 'one'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_environments_yaml_is_told_with_its_line(tmp_path, name, text, problem):
    file = tmp_path / "environments.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_environment(file, name, {}, ["one"])
    assert f"{file}:{problem}" in caught.value.problems


def test_the_platforms_own_staging_environment_is_as_documented():
    file = Path(__file__).parents[1] / "environments.yaml"
    found = load_environment(file, "staging", {}, ["print-message"])
    assert (found.branch, found.suffix, found.work_queue) == ("staging", "-staging", "staging")
    assert found.has_active_schedules is False
