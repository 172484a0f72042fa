"""What `make new-flow` writes, committed and deployed as it is, on a real worker."""

import shutil

import pytest
from declared import HEAD, ONE

from local.console import Console
from local.deployments.new_flow import make_new_flow
from local.settings.platform import ROOT


@pytest.mark.timeout(300)
def test_a_new_flow_is_deployed_and_runs_with_nothing_edited(platform):
    checkout = platform.repository.path
    shutil.copytree(
        ROOT / "flows" / "template",
        checkout / "flows" / "template",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    file = platform.folder / "declared.yaml"
    file.write_text(HEAD + ONE, encoding="utf-8")

    make_new_flow(checkout, "streets/count_potholes", file, Console())
    platform.repository.commit({})
    report = platform.apply(file.read_text(encoding="utf-8"))

    assert report.failures == []
    assert platform.outcomes(report) == {"one": "created", "count-potholes": "created"}
    deployment = platform.client.read_deployment_by_name("count-potholes/count-potholes")
    assert deployment.description == "Counts the words of a text."
    assert set(deployment.parameter_openapi_schema["properties"]) == {"text"}
    run_id = platform.client.create_flow_run_from_deployment(
        deployment.id, parameters={"text": "one two two"}
    ).id
    output = platform.work_once()
    assert platform.client.read_flow_run(run_id).state.is_completed(), output
    assert "3 words, 2 different ones" in output
