"""What flows leave behind, on both forms of the platform: rows in the warehouse, files, logs, artifacts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pages import blocks
from tests.platforms import JSON, Platform, commit, wait_for
from tests.warehouse import query

pytestmark = [pytest.mark.long_locally, pytest.mark.xdist_group("platform")]


def lake_files(platform: Platform) -> set[str]:
    """List the files in the worker's lake."""
    if platform.kind == "compose":
        find = ("find", "/var/lib/prefect/lake", "-type", "f", "-printf", "%P\\n")
        return set(platform.must("docker", "compose", "exec", "-T", "worker", *find).splitlines())
    lake = platform.checkout / ".local" / "worker" / "lake"
    return {str(file.relative_to(lake)) for file in lake.rglob("*") if file.is_file()}


def artifacts(platform: Platform, run: JSON) -> dict[str, JSON]:
    """Return the artifacts of a flow run by their keys."""
    found = platform.api.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    return {artifact["key"]: artifact for artifact in found}


def completed(platform: Platform, name: str, parameters: JSON | None = None) -> JSON:
    """Run a deployment and fail with its log unless it completes."""
    run = platform.api.run(name, parameters)
    assert run["state_type"] == "COMPLETED", f"{run['state']['message']}\n{platform.api.log(run['id'])}"
    return run


def test_taxi_trips_of_each_month_are_in_the_warehouse_and_their_files_in_the_lake(
    platform: Platform,
) -> None:
    run = completed(platform, "load-taxi-trips", {"months": [1, 2], "year": 2021})
    counted = (
        "SELECT month, count(*) FROM taxi_trips WHERE year = 2021 AND colour = 'green' GROUP BY 1 ORDER BY 1"
    )
    rows = query(platform, counted)
    assert [month for month, _ in rows] == ["1", "2"]
    assert all(int(count) > 900 for _, count in rows)
    assert lake_files(platform) >= {
        f"taxi_trips/green/green_tripdata_2021-{month}.csv.gz" for month in ("01", "02")
    }
    children = platform.api.post(
        "flow_runs/filter",
        {"flow_runs": {"parent_flow_run_id": {"any_": [run["id"]]}}, "sort": "NAME_ASC"},
    )
    assert {child["name"] for child in children} == {"green 2021-01", "green 2021-02"}
    assert artifacts(platform, run)["taxi-trips"]["type"] == "table"
    completed(platform, "load-taxi-trips", {"months": [2], "year": 2021})
    assert query(platform, counted) == rows


@pytest.mark.docker
def test_flows_cannot_reach_prefects_own_database(platform: Platform) -> None:
    program = "import socket; socket.create_connection(('postgres', 5432), 3)"
    run = platform.api.run("run-shell-command", {"command": f'python -c "{program}"'})
    assert run["state_type"] == "FAILED"
    assert "gaierror" in run["state"]["message"]


def test_an_apis_answer_is_an_artifact_and_is_not_asked_for_again(platform: Platform) -> None:
    first = completed(platform, "fetch-api")
    assert "asked http" in platform.api.log_with(first["id"], "Finished in state Completed()")
    assert '"message": "OK"' in artifacts(platform, first)["api-answer"]["data"]
    second = completed(platform, "fetch-api")
    assert "asked http" not in platform.api.log_with(second["id"], "Finished in state Completed()")
    assert (
        artifacts(platform, second)["api-answer"]["data"] == artifacts(platform, first)["api-answer"]["data"]
    )


def test_every_file_is_summarised_under_a_concurrency_limit(platform: Platform) -> None:
    run = completed(platform, "summarise-taxi-trips", {"at_once": 4})
    rows = json.loads(artifacts(platform, run)["taxi-summary"]["data"])
    assert len(rows) == 24
    assert all(row["trips"] > 900 for row in rows)
    limit = platform.api.get("v2/concurrency_limits/taxi-files")
    assert (limit["limit"], limit["active"], limit["active_slots"]) == (4, True, 0)


def test_output_of_a_yeedu_job_and_its_notebook_is_in_the_warehouse(platform: Platform) -> None:
    run = completed(platform, "run-yeedu-pipeline")
    of_run = f"WHERE flow_run_id = '{run['id']}' ORDER BY source, position"
    rows = query(platform, f"SELECT source, text FROM yeedu_output {of_run}")
    said = {source: [text for name, text in rows if name == source] for source in ("job", "notebook")}
    assert said["job"][0].startswith("Hello from Yeedu, run")
    assert said["job"][-1] == "Done."
    assert said["notebook"][0].startswith("Hello from a Yeedu notebook")
    assert "45" in said["notebook"]


@pytest.mark.parametrize("approve", [True, False])
def test_a_report_is_published_only_when_a_person_approves_it(platform: Platform, approve: bool) -> None:
    year = 2018 if approve else 2017
    completed(platform, "load-taxi-trips", {"months": [5], "year": year})
    run_id = platform.api.start("publish-after-approval", {"year": year})

    def suspended() -> JSON | None:
        run = platform.api.get(f"flow_runs/{run_id}")
        assert run["state_type"] != "FAILED", run["state"]["message"]
        return run if run["state_name"] == "Suspended" else None

    wait_for("suspended run", suspended, 200)
    answer = {"approve": approve, "comment": "as far as I can see"}

    def accepted() -> bool:
        """The form that the answer has to fit is stored a moment after the state."""
        said = platform.api.post(f"flow_runs/{run_id}/resume", {"run_input": answer})
        assert said["status"] == "ACCEPT" or "schema not found" in said["details"]["reason"], said
        return said["status"] == "ACCEPT"

    wait_for("accepted answer", accepted, 60)
    run = platform.api.finished(run_id)
    if approve:
        assert run["state_type"] == "COMPLETED", platform.api.log(run_id)
        published = f"SELECT comment FROM published_reports WHERE year = {year}"
        assert query(platform, published) == [["as far as I can see"]]
        assert f"# Taxi trips of {year}" in artifacts(platform, run)["taxi-report"]["data"]
    else:
        assert run["state_type"] == "FAILED"
        assert "The report of 2017 was refused: as far as I can see." in run["state"]["message"]
        assert "taxi-report" not in artifacts(platform, run)


@pytest.mark.long
@pytest.mark.docker
@pytest.mark.timeout(400)
def test_a_worker_runs_the_flow_that_its_image_holds(platform: Platform) -> None:
    profile = ("docker", "compose", "--profile", "image-worker")
    platform.must(*profile, "up", "--detach", "--wait", "--no-deps", "--build", "image-worker")
    try:
        command = "pwd; echo git: $FLOWS_GIT_URL; ls flows"
        run = completed(platform, "run-shell-command-from-image", {"command": command})
        lines = platform.api.log_with(run["id"], "print_message.py").splitlines()
        assert "/opt/flows" in lines
        assert "git:" in lines, "it is told of no repository"
        cloned = platform.api.deployments()["summarise-payments"]
        kept = ("flow_id", "entrypoint", "parameter_openapi_schema")
        step = {"prefect.deployments.steps.set_working_directory": {"directory": "/opt/flows"}}
        name = "summarise-payments-from-image"
        shipped = {"name": name, "work_pool_name": "image-pool", "pull_steps": [step]}
        made = platform.api.post("deployments/", {**{key: cloned[key] for key in kept}, **shipped})
        try:
            completed(platform, name)
        finally:
            platform.api.delete(f"deployments/{made['id']}")
    finally:
        platform.must(*profile, "rm", "--stop", "--force", "image-worker")


def test_lines_of_an_own_logger_are_in_the_log_of_a_deployments_run(platform: Platform) -> None:
    page = "docs/own-machine.md"
    [code] = [block for block in blocks(page, "python") if "getLogger" in block]
    [declared] = [yaml.safe_load(block)["work_pool"] for block in blocks(page, "yaml")]
    file = platform.checkout / "flows" / "count_stock.py"
    file.write_text(code, encoding="utf-8")
    commit(platform.checkout, "Count the stock")
    deployment = platform.api.post(
        "deployments/",
        {
            "name": "stock",
            "flow_id": platform.api.post("flows/", {"name": "count-stock"})["id"],
            "entrypoint": "flows/count_stock.py:count_stock",
            "pull_steps": platform.api.deployments()["print-message"]["pull_steps"],
            "work_pool_name": declared["name"],
            "job_variables": declared["job_variables"],
        },
    )
    try:
        platform.api.log_with(completed(platform, "stock")["id"], "counted")
    finally:
        platform.api.delete(f"deployments/{deployment['id']}")
        file.unlink()
        commit(platform.checkout, "Count it no more")


SERVED = next(block for block in blocks("docs/own-machine.md", "python") if ".serve(" in block)


def test_a_flow_served_from_a_laptop_is_a_deployment_that_runs_there(
    platform: Platform, tmp_path: Path
) -> None:
    (tmp_path / "write_note.py").write_text(SERVED)
    environment = {
        **os.environ,
        "PREFECT_API_URL": platform.api.url,
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    with (tmp_path / "log").open("w") as log:
        laptop = subprocess.Popen(
            [sys.executable, "write_note.py"], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:

        def served() -> bool:
            assert laptop.poll() is None, (tmp_path / "log").read_text()
            return "laptop" in platform.api.deployments()

        wait_for("deployment of the laptop", served, 200)
        run = completed(platform, "laptop", {"text": "from a laptop"})
        assert (tmp_path / "note.txt").read_text() == "from a laptop"
    finally:
        laptop.send_signal(signal.SIGINT)
        laptop.wait(timeout=60)
    left = platform.api.deployments()["laptop"]
    assert left["paused"], "a deployment that nobody serves starts no runs"
    assert run["work_pool_name"] is None
    platform.api.delete(f"deployments/{left['id']}")
