"""The platform's own prefect.yaml and work-pools.yaml, checked against the platform's own flows."""

from pathlib import Path

import pytest
from declared import load_deployments

from yeedu_deployer.declared.platform_files import load_pools
from yeedu_deployer.inspection.inspector import Wanted
from yeedu_deployer.planned.deployments import define

CHECKOUT = Path(__file__).parents[2]
URLS = {name: f"http://yeedu/{name}" for name in ("YEEDU_JOB_URL", "YEEDU_NOTEBOOK_URL", "YEEDU_HEALTH_URL")}
FREQUENT = {
    *("print-message", "run-shell-command", "verify-file-names", "run-flows-in-parallel"),
    *("run-yeedu-job", "run-yeedu-notebook", "check-yeedu-health"),
}


@pytest.fixture(scope="module")
def specs():
    return {spec.name: spec for spec in load_deployments(CHECKOUT / "deployer/prefect.yaml", URLS)}


def test_every_deployment_is_a_flow_of_its_name_whose_parameters_fit(specs, inspector):
    wanted = [
        Wanted(spec.says.entrypoint, tuple(spec.says.parameter_sets.values())) for spec in specs.values()
    ]

    found = inspector.inspect(CHECKOUT, wanted)

    for spec, facts in zip(specs.values(), found, strict=True):
        flow = spec.name.removesuffix("-from-image").removesuffix("-yellow")
        assert define(spec, spec.pull, facts).key == f"{flow}/{spec.name}"


def test_seven_linux_deployments_run_every_five_minutes_and_the_others_wait(specs):
    frequent = {
        name: spec for name, spec in specs.items() if any(schedule.active for schedule in spec.says.schedules)
    }
    (windows,) = [spec for spec in specs.values() if spec.says.work_pool.name == "windows-pool"]

    assert frequent.keys() == FREQUENT
    assert windows.name == "create-file-on-windows"
    for spec in frequent.values():
        assert spec.says.work_pool.name == "yeedu-pool"
        (schedule,) = spec.says.schedules
        assert (schedule.slug, schedule.active) == ("every-five-minutes", True)
        assert schedule.rule == {"cron": "*/5 * * * *", "timezone": "UTC"}


def test_every_deployment_pulls_from_the_repository_that_the_worker_is_told(specs):
    for spec in specs.values():
        (step,) = spec.source_pull
        assert step.inputs == {"repository": "{{ $FLOWS_GIT_URL }}", "branch": "{{ $FLOWS_GIT_REF }}"}
        assert (spec.pull == spec.source_pull) == (spec.says.work_pool.name != "image-pool")
        assert spec.says.tags
        assert spec.says.description


def test_the_pools_of_the_deployments_are_declared(specs):
    pools = {pool.name: pool for pool in load_pools(CHECKOUT / "deployer/work-pools.yaml", {})}

    assert pools.keys() == {spec.says.work_pool.name for spec in specs.values()}
    assert pools["yeedu-pool"].job_variables == {"command": "yeedu-flow-run"}
    assert pools["windows-pool"].job_variables == {}
