"""What the server has, and does, of flows that are not imported here and of values that it fills in."""

import json

from declared import HEAD, ONE
from prefect.client.schemas.filters import DeploymentFilter

WANTS_A_PACKAGE = '''
import missing_package
from prefect import flow

@flow(name="one", log_prints=True)
def run(message: str, count: int = 1):
    """Says something."""
'''


def test_a_flow_that_lacks_a_package_here_is_registered_with_a_note(platform):
    platform.repository.commit({"flows/one.py": WANTS_A_PACKAGE})

    report = platform.apply(HEAD + ONE + "    parameters: {message: hello}\n")

    assert report.failures == []
    (row,) = [row for row in report.rows if (row.kind, row.outcome.value) == ("deployment", "created")]
    assert row.detail.endswith(
        "parameters were read from the source, since it does not import here: ModuleNotFoundError: No "
        "module named 'missing_package' (flows/one.py, line 2); if it is a package, add it to "
        "flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)"
    )
    there = platform.client.read_deployment_by_name("one/one")
    assert there.description == "Says something."
    assert there.parameter_openapi_schema["required"] == ["message"]


def test_a_flow_is_imported_with_the_variables_of_its_runs(platform):
    code = "import os\nfrom prefect import flow\n@flow(name=os.environ['STAGE'])\ndef run(): ...\n"
    platform.repository.commit({"flows/one.py": code})
    pool = "work_pool: {name: yeedu-pool, job_variables: {env: {STAGE: test}}}"

    report = platform.apply(HEAD + f"- name: one\n  entrypoint: flows/one.py:run\n  {pool}\n")

    assert report.failures == []
    assert platform.client.read_deployment_by_name("test/one")


def test_the_server_fills_in_a_value_where_the_schema_is_not_enforced(platform, eventually):
    value = {"__prefect_kind": "workspace_variable", "variable_name": "how_many"}
    one = f"{ONE}    parameters: {{count: {json.dumps(value)}}}\n"
    platform.client.request("POST", "/variables/", json={"name": "how_many", "value": 3})

    refused = platform.apply(HEAD + one)
    taken = platform.apply(HEAD + one + "    enforce_parameter_schema: false\n")

    assert len(refused.failures) == 1
    assert "the server fills in 'count' only with `enforce_parameter_schema: false`" in refused.failures[0]
    assert taken.failures == []
    deployment = platform.client.read_deployment_by_name("one/one")
    assert platform.client.create_flow_run_from_deployment(deployment.id).parameters == {"count": 3}
    mine = DeploymentFilter(id={"any_": [deployment.id]})

    def scheduled():
        runs = platform.client.read_flow_runs(deployment_filter=mine)
        return [run.parameters for run in runs if run.auto_scheduled]

    assert {"count": value} in eventually(scheduled, "the scheduler's first runs")
