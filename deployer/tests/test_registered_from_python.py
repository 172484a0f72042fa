"""Deployments that a program registers with `flow.from_source(...).deploy(...)`."""

import pytest
from declared import HEAD, ONE, snapshot
from prefect import flow
from prefect.runner.storage import GitRepository


@pytest.mark.timeout(300)
def test_a_deployment_from_python_runs_here_and_the_deployer_leaves_it_alone(platform):
    platform.apply(HEAD + ONE)
    source = GitRepository(url=platform.repository.url, branch="main")
    flow.from_source(source, entrypoint="flows/two.py:run").deploy(
        name="from-python", work_pool_name="yeedu-pool", build=False, push=False, print_next_steps=False
    )
    before = snapshot(platform.client, "two/from-python")

    again = platform.apply(HEAD + ONE)

    assert platform.outcomes(again) == {"one": "unchanged"}
    assert snapshot(platform.client, "two/from-python") == before
    deployment = platform.client.read_deployment_by_name("two/from-python")
    (step,) = deployment.pull_steps
    inputs = step["prefect.deployments.steps.git_clone"]
    assert (inputs["repository"], inputs["branch"]) == (platform.repository.url, "main")
    run_id = platform.client.create_flow_run_from_deployment(deployment.id).id
    output = platform.work_once()
    assert platform.client.read_flow_run(run_id).state.is_completed(), output


DOCKER_POOL = """
work_pools:
  - {name: yeedu-pool, type: process}
  - {name: docker-pool, type: docker}
"""


def test_a_deployment_from_python_names_the_image_of_its_containers(platform):
    platform.apply(HEAD + ONE, pools=DOCKER_POOL)
    source = GitRepository(url=platform.repository.url, branch="main")
    flow.from_source(source, entrypoint="flows/two.py:run").deploy(
        name="in-a-container",
        work_pool_name="docker-pool",
        image="registry.example.com/team/flows:1",
        build=False,
        push=False,
        print_next_steps=False,
    )
    deployment = platform.client.read_deployment_by_name("two/in-a-container")
    assert deployment.work_pool_name == "docker-pool"
    assert deployment.job_variables["image"] == "registry.example.com/team/flows:1"
    assert "prefect.deployments.steps.git_clone" in deployment.pull_steps[0]
