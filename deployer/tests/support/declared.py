"""What many tests declare: a repository, and one or two deployments of its flows."""

from yeedu_deployer.declared.prefect_yaml import load_file
from yeedu_deployer.errors import SpecError

POOLS = """
work_pools:
  - {name: yeedu-pool, type: process, job_variables: {command: python -m prefect.engine}}
  - {name: windows-pool, type: process}
"""
NAMELESS = """
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
      branch: "{{ $FLOWS_GIT_REF }}"
deployments:
"""
HEAD = f"name: tests{NAMELESS}"
ONE = """
  - name: one
    entrypoint: flows/one.py:run
    tags: [first]
    work_pool: {name: yeedu-pool}
    schedules: [{cron: "*/5 * * * *", slug: often}]
"""
TWO = """
  - name: two
    entrypoint: flows/two.py:run
    work_pool: {name: windows-pool}
    schedules: [{cron: "0 * * * *", slug: hourly, active: false}]
"""


def snapshot(client, name):
    deployment = client.read_deployment_by_name(name)
    return (
        deployment.id,
        deployment.updated,
        [(schedule.id, schedule.updated, schedule.active) for schedule in deployment.schedules],
    )


def load_deployments(path, environment):
    """Read every deployment of a prefect.yaml, all of which have to be right; see `load_file`.

    Raises:
        SpecError: Something in the file is wrong; every problem is told, each with its line.
    """
    file = load_file(path, environment)
    told = {problem.removeprefix(f"{path}:") for error in file.errors.values() for problem in error.problems}
    if told:
        ordered = sorted(told, key=lambda one: (int(one.partition(":")[0]), one))
        raise SpecError([f"{path}:{one}" for one in ordered])
    return file.deployments
