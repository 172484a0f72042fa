"""What a newcomer sees after `make up`, on both forms of the platform."""

import json
import socket
from contextlib import suppress

import pytest
import requests

from tests.platforms import FINAL, JSON, Platform, free_port, wait_for

pytestmark = pytest.mark.xdist_group("platform")

LINUX = {
    "check-yeedu-health",
    "print-message",
    "run-flows-in-parallel",
    "run-shell-command",
    "run-yeedu-job",
    "run-yeedu-notebook",
    "verify-file-names",
}
WINDOWS = "create-file-on-windows"
# Run when someone wants them to, so that they do not slow the start of the platform.
ON_REQUEST = {
    *("fetch-api", "load-taxi-trips", "publish-after-approval", "run-shell-command-from-image"),
    *("run-yeedu-pipeline", "summarise-taxi-trips", "load-taxi-trips-yellow", "backfill-taxi-trips"),
    *("summarise-payments", "report-repository"),
}
FROM_IMAGE = "run-shell-command-from-image"
TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"


def yeedu(platform: Platform, path: str) -> str:
    """Return an address of the mock as the platform's worker reaches it."""
    host = "yeedu-mock:8080" if platform.kind == "compose" else f"localhost:{platform.mock_port}"
    return f"http://{host}/tenant/{TENANT}/workspace/1/spark/{path}"


@pytest.mark.docker
def test_every_service_is_healthy_and_every_one_shot_succeeded(platform: Platform) -> None:
    def listed() -> dict[str, JSON]:
        lines = platform.must("docker", "compose", "ps", "--all", "--format", "json").splitlines()
        return {service["Service"]: service for service in map(json.loads, lines)}

    def all_healthy() -> bool:
        return all(service["Health"] in {"", "healthy"} for service in listed().values())

    with suppress(AssertionError):  # told below; a busy machine's check may have come too late
        wait_for("healthy services", all_healthy, 120)
    services = listed()
    assert services.keys() == {
        *("secrets", "postgres", "migrate", "server", "ready"),
        *("git-server", "yeedu-mock", "deployer", "worker", "rescue", "yeedu-watch", "warehouse"),
        *(("proxy", "redis", "services") if "SCALE" in platform.environment else ()),
    }
    for name, service in services.items():
        if name in {"secrets", "migrate", "deployer", "ready"}:
            assert (service["State"], service["ExitCode"]) == ("exited", 0), name
        else:
            assert (service["State"], service["Health"]) == ("running", "healthy"), name


def test_the_api_is_ready(platform: Platform) -> None:
    assert requests.get(f"{platform.api.url}/ready", timeout=90).status_code == 200


def test_all_deployments_pull_from_git_on_their_schedules(platform: Platform) -> None:
    deployments = platform.api.deployments()
    assert deployments.keys() == LINUX | {WINDOWS} | ON_REQUEST
    for name in ON_REQUEST:
        deployment = deployments.pop(name)
        step = "set_working_directory" if name == FROM_IMAGE else "git_clone"
        assert list(deployment["pull_steps"][0]) == [f"prefect.deployments.steps.{step}"], name
        assert not any(schedule["active"] for schedule in deployment["schedules"]), name
        assert deployment["work_pool_name"] == ("image-pool" if name == FROM_IMAGE else "yeedu-pool")
    for name, deployment in deployments.items():
        assert list(deployment["pull_steps"][0]) == ["prefect.deployments.steps.git_clone"], name
        [schedule] = deployment["schedules"]
        assert schedule["schedule"]["cron"] == "*/5 * * * *"
        assert schedule["slug"]
        assert schedule["active"] == (name in LINUX)
        assert deployment["work_pool_name"] == ("yeedu-pool" if name in LINUX else "windows-pool")


@pytest.mark.parametrize("name", sorted(LINUX))
def test_first_run_of_each_deployment_completes(platform: Platform, name: str) -> None:
    first = next(run for run in platform.api.runs(name) if not run["auto_scheduled"])
    run = platform.api.finished(first["id"])
    assert run["state_type"] == "COMPLETED", platform.api.log(run["id"])
    labels = run["labels"]  # by which the rescue service knows how long it may be silent
    assert labels["yeedu-prefect.worker.name"] == labels["prefect.worker.name"]
    assert labels["yeedu-prefect.heartbeat-seconds"] == 30


def test_task_runs_are_stored(platform: Platform) -> None:
    run = platform.api.run("run-shell-command")

    def tasks() -> list[JSON]:
        return platform.api.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})

    assert wait_for("task run", tasks, 90)


def test_shell_command_output_and_exit_code_reach_the_run(platform: Platform) -> None:
    run = platform.api.run("run-shell-command", {"command": "echo out; echo err >&2; exit 3"})
    assert run["state_type"] == "FAILED"
    assert "3" in run["state"]["message"]
    log = platform.api.log_with(run["id"], "err")
    assert "out" in log.splitlines()


def test_yeedu_job_output_is_in_the_run_log(platform: Platform) -> None:
    run = platform.api.run("run-yeedu-job")
    assert run["state_type"] == "COMPLETED", platform.api.log(run["id"])
    log = platform.api.log_with(run["id"], "stderr")
    assert "stdout" in log
    assert f"http://localhost:{platform.mock_port}/tenant/{TENANT}/workspace/1/run/" in log


def test_a_deferrable_yeedu_job_runs_without_a_process_of_its_flow_run(platform: Platform) -> None:
    deployment = platform.api.deployments()["run-yeedu-job"]["id"]
    variables = {"env": {"PREFECT_INTEGRATIONS_YEEDU_DEFERRABLE": "true"}}
    body = {"state": {"type": "SCHEDULED"}, "job_variables": variables}
    run_id = platform.api.post(f"deployments/{deployment}/create_flow_run", body)["id"]
    run = platform.api.finished(run_id)
    assert run["state_type"] == "COMPLETED", platform.api.log(run_id)
    assert run["run_count"] == 1
    states = [state["name"] for state in platform.api.get(f"flow_run_states/?flow_run_id={run_id}")]
    assert {"Suspended", "Resuming"} <= set(states), states
    log = platform.api.log_with(run_id, "found again")
    assert "goes on without this process" in log
    assert log.count(" submitted: ") == 1


def test_failing_yeedu_job_fails_the_run_with_its_reason(platform: Platform) -> None:
    run = platform.api.run("run-yeedu-job", {"job_url": yeedu(platform, "job/102")})
    assert run["state_type"] == "FAILED"
    assert "ERROR" in run["state"]["message"]


def test_notebook_outputs_are_in_the_run_log(platform: Platform) -> None:
    run = platform.api.run("run-yeedu-notebook")
    assert run["state_type"] == "COMPLETED", platform.api.log(run["id"])
    assert "cell" in platform.api.log_with(run["id"], "cell")


def test_failing_cell_fails_the_run_with_index_name_and_traceback(platform: Platform) -> None:
    run = platform.api.run("run-yeedu-notebook", {"notebook_url": yeedu(platform, "notebook/202")})
    assert run["state_type"] == "FAILED"
    log = platform.api.log_with(run["id"], "Traceback")
    for text in (run["state"]["message"], log):
        assert "ZeroDivisionError" in text
        assert "cell 2" in text.lower()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://yeedu.example:8080/somewhere", "/tenant/"),
        ("not a url", "http"),
    ],
)
def test_bad_yeedu_url_fails_the_run_with_one_sentence(platform: Platform, url: str, sentence: str) -> None:
    run = platform.api.run("run-yeedu-job", {"job_url": url})
    assert run["state_type"] == "FAILED"
    assert sentence in run["state"]["message"]
    assert "\n" not in run["state"]["message"]


def test_wrong_yeedu_password_fails_the_run_with_one_sentence(platform: Platform) -> None:
    secret_type = platform.api.get("block_types/slug/secret")["id"]
    [schema] = platform.api.post(
        "block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [secret_type]}}}
    )[:1]
    platform.api.post(
        "block_documents/",
        {
            "name": "wrong-password",
            "block_type_id": secret_type,
            "block_schema_id": schema["id"],
            "data": {"value": "planted-wrong-password"},
        },
    )
    run = platform.api.run("run-yeedu-job", {"login_password_block_name": "wrong_password"})
    assert run["state_type"] == "FAILED"
    assert "password" in run["state"]["message"]
    assert "planted-wrong-password" not in run["state"]["message"] + platform.api.log(run["id"])


def test_committed_change_of_a_flow_is_in_its_next_run(platform: Platform) -> None:
    old, new = 'message: str = "Hello from Yeedu on Prefect"', 'message: str = "Changed by a commit"'
    platform.edit("flows/print_message.py", old, new)
    deployment = platform.api.deployments()["print-message"]
    assert "message" not in deployment["parameters"], "the flow's own default decides"
    run = platform.api.run("print-message")
    assert run["state_type"] == "COMPLETED"
    platform.api.log_with(run["id"], "Changed by a commit")
    platform.edit("flows/print_message.py", new, old)  # for the tests of the pages


@pytest.mark.long_locally
def test_deploying_again_changes_nothing(platform: Platform) -> None:
    first = platform.deploy()
    assert first.returncode == 0, first.stdout + first.stderr
    before = platform.api.deployments()
    again = platform.deploy()
    assert again.returncode == 0, again.stdout + again.stderr
    after = platform.api.deployments()
    for name, deployment in before.items():
        for field in ("id", "updated", "schedules"):
            assert after[name][field] == deployment[field], (name, field)


def deploy_mistakes(platform: Platform) -> dict[str, tuple[dict[str, str], str]]:
    """Return wrong inputs of the deployer, each as an environment and a part of the sentence."""
    folder = platform.checkout.parent
    good = (platform.checkout / "deployer" / "prefect.yaml").read_text(encoding="utf-8")
    (folder / "broken.yaml").write_text(good + "\ndeployments: [\n", encoding="utf-8")
    missing = good.replace("flows/print_message.py:print_message", "flows/missing.py:print_message")
    assert missing != good
    (folder / "missing.yaml").write_text(missing, encoding="utf-8")
    return {
        "broken": (
            {"PREFECT_FILE": str(folder / "broken.yaml")},
            f"yaml:{good.count(chr(10)) + 3}: this is not valid YAML",  # the list is open at the file's end
        ),
        "entrypoint": ({"PREFECT_FILE": str(folder / "missing.yaml")}, "flows/missing.py"),
        "git": ({"FLOWS_GIT_URL": f"http://127.0.0.1:{free_port()}/flows.git"}, "FLOWS_GIT_URL"),
    }


@pytest.mark.long_locally
@pytest.mark.parametrize("mistake", ["broken", "entrypoint", "git"])
def test_wrong_input_of_the_deployer_is_one_clear_sentence(platform: Platform, mistake: str) -> None:
    environment, sentence = deploy_mistakes(platform)[mistake]
    before = platform.api.deployments()
    done = platform.deploy(environment)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert sentence in output
    assert "Traceback" not in output
    assert platform.api.deployments().keys() == before.keys()


@pytest.mark.long_locally
@pytest.mark.timeout(900)
def test_scheduler_creates_runs_of_every_active_deployment_that_complete(platform: Platform) -> None:
    def finished() -> dict[str, JSON] | None:
        runs: dict[str, JSON] = {}
        for name in LINUX:
            ended = [
                run for run in platform.api.runs(name) if run["auto_scheduled"] and run["state_type"] in FINAL
            ]
            if not ended:
                return None
            runs[name] = ended[0]
        return runs

    runs = wait_for("finished run made by the scheduler for every deployment", finished, 700, 2)
    for name, run in runs.items():
        assert run["state_type"] == "COMPLETED", (name, platform.api.log(run["id"]))


@pytest.mark.long_locally
@pytest.mark.timeout(1500)
def test_down_and_up_keep_everything_and_double_nothing(platform: Platform) -> None:
    deployments = platform.api.deployments()
    finished = [run["id"] for name in LINUX for run in platform.api.runs(name) if run["state_type"] in FINAL]
    assert finished
    platform.down()
    with pytest.raises(requests.ConnectionError):
        platform.api.get("health")
    platform.up()
    after = platform.api.deployments()
    assert after.keys() == deployments.keys()
    for name, deployment in deployments.items():
        assert after[name]["id"] == deployment["id"]
        slugs = [schedule["slug"] for schedule in after[name]["schedules"]]
        assert slugs == [schedule["slug"] for schedule in deployment["schedules"]]
    assert {run["id"] for name in LINUX for run in platform.api.runs(name)} >= set(finished)
    blocks = [block["name"] for block in platform.api.post("block_documents/filter")]
    assert len(blocks) == len(set(blocks))
    assert {"yeedu-connection-details", "yeedu-password"} <= set(blocks)


def test_port_in_use_is_named_with_its_process_and_its_setting(platform: Platform) -> None:
    busy = free_port()
    with socket.create_server(("127.0.0.1", busy)):
        done = platform.command(
            *("python3", "-m", "local", "up"),
            environment={"PREFECT_PORT": str(busy), "COMPOSE_PROJECT_NAME": f"{platform.kind}-port-in-use"},
        )
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert str(busy) in output
    assert "PREFECT_PORT" in output
    assert "Traceback" not in output
