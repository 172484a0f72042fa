"""A deployment that the deployer made, run by a real worker: pool and pull steps keep their promises."""

import sys

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

YAML = """
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
      branch: "{{ $FLOWS_GIT_REF }}"
deployments:
  - {name: one, entrypoint: "flows/one.py:run", work_pool: {name: yeedu-pool}}
"""
PRINTS_ITS_PARENT = """
import os
from pathlib import Path
from prefect import flow

@flow(name="one", log_prints=True)
def run():
    parent = Path(f"/proc/{os.getppid()}/cmdline").read_text().replace("\\0", " ")
    print("branch:", Path("marker").read_text(), "parent:", parent)
"""


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="reads the parent process from /proc")
@pytest.mark.parametrize(("reference", "marker"), [(None, "main"), ("other", "other")])
def test_a_run_pulls_the_right_branch_in_one_interpreter(platform, reference, marker):
    platform.repository.commit({"flows/one.py": PRINTS_ITS_PARENT, "marker": "main"})
    platform.repository.git("checkout", "--quiet", "-b", "other")
    platform.repository.commit({"marker": "other"})
    platform.repository.git("checkout", "--quiet", "main")
    variables = {} if reference is None else {"FLOWS_GIT_REF": reference}
    platform.apply(YAML, environment=variables)
    deployment = platform.client.read_deployment_by_name("one/one").id
    platform.client.create_flow_run_from_deployment(deployment)
    output = platform.work_once(**variables)

    of_deployment = FlowRunFilterDeploymentId(any_=[deployment])
    (run,) = platform.client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=of_deployment))
    assert run.state.is_completed(), output
    (line,) = [line for line in output.splitlines() if "branch:" in line]
    assert f"branch: {marker} parent:" in line
    assert "prefect worker start" in line  # the worker itself, with no supervisor in between
