"""Projects of flows, on both forms of the platform: the one that is there, and one that is made new."""

import os
import subprocess
import sys

import pytest

from tests.platforms import Platform, commit

pytestmark = pytest.mark.xdist_group("platform")
NAME = "streets/count_potholes"
FLOW = f"flows/{NAME}.py"


def completed(platform: Platform, name: str) -> str:
    """Run a deployment, fail unless it completes, and return its log."""
    run = platform.api.run(name)
    assert run["state_type"] == "COMPLETED", f"{run['state']['message']}\n{platform.api.log(run['id'])}"
    return platform.api.log_with(run["id"], "Finished in state Completed()")


def test_a_project_runs_from_the_workers_clone_with_the_modules_in_its_folder(platform: Platform) -> None:
    assert "payments in 4 zones on 2026-03-31; left out: 1 paid twice" in completed(
        platform, "summarise-payments"
    )


def test_a_new_flow_runs_at_once_as_a_script_and_as_a_deployment_and_its_test_passes(
    platform: Platform,
) -> None:
    said = platform.must(sys.executable, "-m", "local", "new-flow", NAME)
    assert f"python {FLOW}" in said
    commit(platform.checkout, "Add count-potholes")
    deployed = platform.deploy()
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert "6 words, 4 different ones" in completed(platform, "count-potholes")
    if platform.kind == "compose":
        return  # the rest is the same on both
    environment = {**os.environ, "PREFECT_API_URL": platform.api.url}
    script = subprocess.run(
        [sys.executable, FLOW],
        cwd=platform.checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert script.returncode == 0, script.stderr
    assert "6 words, 4 different ones" in script.stdout + script.stderr
    test = FLOW.replace("count_potholes", "tests/test_count_potholes")
    command = (sys.executable, "-m", "pytest", "--numprocesses=0", "-p", "no:cacheprovider", test)
    done = platform.command(*command, environment={"REQUIRE_DOCKER": ""})  # this platform needs no engine
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operators_block_types_are_in_the_catalogue_and_nothing_internal(platform: Platform) -> None:
    slugs = {block_type["slug"] for block_type in platform.api.post("block_types/filter")}
    ours = {slug for slug in slugs if "yeedu" in slug}
    assert ours == {"yeedu-credentials", "yeedu-job", "yeedu-notebook"}
