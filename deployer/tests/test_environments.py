"""Two environments of one repository side by side: own names, own code, own queue, own state."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yeedu_deployer.declared.environments import load_environment
from yeedu_deployer.declared.selection import Entry, Selection
from yeedu_deployer.errors import SpecError

long = pytest.mark.long

YAML = """name: tests
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
ENVIRONMENTS = """
environments:
  staging:
    branch: staging
    suffix: -staging
    tags: [staging]
    work_queue: staging
    schedules: false
    parameters: {one: {message: from staging}}
"""
STAGING = {"chosen": "staging", "environments": ENVIRONMENTS}
SAYS_WHERE_IT_IS_FROM = """
from prefect import flow

@flow(name="one", log_prints=True)
def run(message: str = "hello", count: int = 1):
    print("code:", {code!r}, "message:", message)
"""


def of(*names):
    """Every deployment of a file that has these."""
    return Selection((), tuple(Entry(name, f"flows/{name}.py:run") for name in names), "prefect.yaml")


@pytest.fixture
def two_branches(platform):
    platform.repository.commit({"flows/one.py": SAYS_WHERE_IT_IS_FROM.format(code="of main")})
    platform.repository.git("checkout", "--quiet", "-b", "staging")
    platform.repository.commit({"flows/one.py": SAYS_WHERE_IT_IS_FROM.format(code="of staging")})
    platform.repository.git("checkout", "--quiet", "main")


@long
def test_an_environment_has_its_own_names_branch_queue_tags_and_parameters(platform, two_branches):
    platform.apply(YAML % "true")
    assert platform.outcomes(platform.apply(YAML % "true", **STAGING)) == {"one-staging": "created"}

    production = platform.client.read_deployment_by_name("one/one")
    staging = platform.client.read_deployment_by_name("one/one-staging")
    assert (staging.tags, staging.work_queue_name) == (["first", "staging"], "staging")
    assert staging.parameters == {"message": "from staging"}
    assert [schedule.active for schedule in staging.schedules] == [False]
    inputs = staging.pull_steps[0]["prefect.deployments.steps.git_clone"]
    assert inputs == {"repository": "{{ $FLOWS_GIT_URL }}", "branch": "staging"}
    assert (production.tags, production.parameters) == (["first"], {"message": "from production"})

    for chosen in ({}, STAGING):
        assert not platform.apply(YAML % "true", plan=True, **chosen).changes_planned
    empty = YAML.partition("  - name: one")[0] + "  []"
    without = {**STAGING, "environments": ENVIRONMENTS.replace("    parameters:", "    # parameters:")}
    assert platform.outcomes(platform.apply(empty, **without)) == {"one-staging": "pruned"}
    assert platform.client.read_deployment_by_name("one/one").id == production.id


@long
@pytest.mark.timeout(240)
def test_both_environments_run_their_own_code_at_the_same_time(platform, two_branches, tmp_path):
    platform.apply(YAML % "false")
    platform.apply(YAML % "false", **STAGING)
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


@long
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
        ("staging", "environments:\n  staging: {branch: a}", "2: environment 'staging': 'suffix' is missing; add it."),
        ("staging", "environments:\n  staging: {brnch: a, suffix: b}", "2: environment 'staging': the key 'brnch' is unknown; did you mean 'branch'?"),
        ("staging", "environments:\n  staging: {branch: a, suffix: b, parameters: {onee: {}}}", "2: environment 'staging': there is no deployment 'onee'; did you mean 'one'?"),
        ("staging", "environments:\n  staging: {branch: a, suffix: b, parameters: {one: text}}", "2: environment 'staging': the parameters of 'one' must be a mapping."),
        ("staging", "environments:\n  staging: {branch: a, suffix: b, work_pools: pool}", "2: environment 'staging': 'work_pools' must be a mapping, but it is 'pool'."),
        ("of us", "environments:\n  of us: {branch: a, suffix: b, own_blocks: true}", "2: environment 'of us': its name becomes part of its blocks' names, so that it may have letters, digits and single dashes only."),
    ],
)  # fmt: skip
def test_a_mistake_in_environments_yaml_is_told_with_its_line(tmp_path, name, text, problem):
    file = tmp_path / "environments.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_environment(file, name, {}, of("one"))
    assert f"{file}:{problem}" in caught.value.problems


def test_the_platforms_own_staging_environment_is_as_documented():
    file = Path(__file__).parents[1] / "environments.yaml"
    found = load_environment(file, "staging", {}, of("print-message"))
    assert (found.says.branch, found.says.suffix, found.says.work_queue) == ("staging", "-staging", "staging")
    assert found.says.schedules is False
    assert found.block_names.of("yeedu_password") == "yeedu-password-staging"


OWN = """
environments:
  staging:
    branch: main
    suffix: -staging
    work_pools: {yeedu-pool: staging-pool}
    own_blocks: true
"""
TELLS_ITS_BLOCKS = """
from prefect import flow

@flow(name="one")
def run(
    message: str = "hello",
    connection_block_name: str = "yeedu_connection_details",
    warehouse_block_name: str = "warehouse",
    token_block_name: str | None = None,
):
    pass
"""


def secret(platform, name):
    data = platform.client.read_block_document_by_name(name, "secret", include_secrets=True).data
    return data["value"]


@pytest.fixture
def settings(platform):
    """Of production, and of staging."""

    def of(name):
        return {
            "YEEDU_USERNAME": f"{name}-user",
            "YEEDU_PASSWORD_FILE": str(platform.secret(f"password-{name}", f"canary-{name}")),
            "WAREHOUSE_URL": f"postgresql://{name}@db.example/city",
        }

    return of("production"), of("staging")


def test_an_environment_has_blocks_and_pools_of_its_own(platform, settings):
    production, staging = settings
    platform.repository.commit({"flows/one.py": TELLS_ITS_BLOCKS})
    platform.apply(YAML % "false", environment=production)
    before = platform.client.read_block_document_by_name("yeedu-password", "secret").updated

    report = platform.apply(YAML % "false", chosen="staging", environments=OWN, environment=staging)

    assert platform.outcomes(report, "block") == {
        "yeedu-connection-details-staging": "created",
        "yeedu-password-staging": "created",
        "warehouse-staging": "created",
    }
    assert platform.outcomes(report, "work pool") == {"staging-pool": "created"}
    for suffix, name in (("", "production"), ("-staging", "staging")):
        assert secret(platform, f"yeedu-connection-details{suffix}")["username"] == f"{name}-user"
        assert secret(platform, f"yeedu-password{suffix}") == f"canary-{name}"
        assert f"{name}@db.example" in secret(platform, f"warehouse{suffix}")
    assert platform.client.read_block_document_by_name("yeedu-password", "secret").updated == before
    ours, theirs = (platform.client.read_deployment_by_name(name) for name in ("one/one-staging", "one/one"))
    assert (ours.work_pool_name, theirs.work_pool_name) == ("staging-pool", "yeedu-pool")
    assert ours.parameters == {
        "message": "from production",
        "connection_block_name": "yeedu-connection-details-staging",
        "warehouse_block_name": "warehouse-staging",
    }
    assert theirs.parameters == {"message": "from production"}
    pools = {pool.name: pool for pool in platform.client.read_work_pools()}
    commands = {
        pools[name].base_job_template["variables"]["properties"]["command"]["default"]
        for name in ("yeedu-pool", "staging-pool")
    }
    assert commands == {"python -m prefect.engine"}, "it is like the pool whose place it takes"

    again = {"chosen": "staging", "environments": OWN, "environment": staging, "plan": True}
    assert not platform.apply(YAML % "false", **again).changes_planned
    assert not platform.apply(YAML % "false", environment=production, plan=True).changes_planned


def test_blocks_of_an_environment_are_left_alone_where_only_deployments_are_registered(platform, settings):
    _, staging = settings
    platform.repository.commit({"flows/one.py": TELLS_ITS_BLOCKS})
    chosen = {"chosen": "staging", "environments": OWN.replace("work_pools", "#")}
    platform.apply(YAML % "false")
    first = platform.apply(YAML % "false", deployments_only=True, **chosen)
    assert platform.outcomes(first) == {"one-staging": "created"}
    (row, _) = [row for row in first.rows if row.kind == "block"]
    assert row.name == "warehouse-staging"
    assert row.detail == "absent: `make deploy ENVIRONMENT=staging` on the platform's machine makes it"
    platform.apply(YAML % "false", environment=staging, **chosen)

    other = {"YEEDU_USERNAME": "of-the-laptop"}
    report = platform.apply(YAML % "false", environment=other, deployments_only=True, **chosen)

    assert platform.outcomes(report, "block") == {}
    assert platform.outcomes(report) == {"one-staging": "unchanged"}
    assert secret(platform, "yeedu-connection-details-staging")["username"] == "staging-user"


def test_a_declared_pool_is_made_where_it_is_missing_and_else_the_platforms(platform):
    pools = """
work_pools:
  - {name: yeedu-pool}
  - {name: staging-pool, description: Declared.}
"""
    chosen = {"chosen": "staging", "environments": OWN, "pools": pools}
    assert platform.outcomes(platform.apply(YAML % "false", **chosen), "work pool") == {
        "staging-pool": "created"
    }
    platform.client.request("PATCH", "/work_pools/staging-pool", json={"description": "Edited."})
    assert platform.outcomes(platform.apply(YAML % "false", **chosen), "work pool") == {}
    assert platform.client.read_work_pool("staging-pool").description == "Edited."


def test_a_pool_that_no_deployment_uses_cannot_be_replaced(platform):
    wrong = OWN.replace("yeedu-pool:", "yedu-pool:")
    with pytest.raises(
        SpecError, match=r"environments.yaml:6: no deployment uses the work pool 'yedu-pool'; did"
    ):
        platform.apply(YAML % "false", chosen="staging", environments=wrong)
