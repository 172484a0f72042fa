"""The program as a user runs it: exit codes, one sentence per mistake, and no secret in any output."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import os
import subprocess
import sys

import pytest

from yeedu_deployer.errors import ConfigurationError
from yeedu_deployer.settings import Configuration

pytestmark = pytest.mark.timeout(300)  # each start of the program imports Prefect
YAML = """\
pull: [{prefect.deployments.steps.git_clone: {repository: "{{ $FLOWS_GIT_URL }}"}}]
deployments:
  - name: one
    entrypoint: flows/one.py:run
    work_pool: {name: yeedu-pool}
    schedules: [{cron: "*/5 * * * *"}]
name: tests
"""
CANARY = "canary-password"


@pytest.fixture
def deployer(tmp_path):
    (tmp_path / "prefect.yaml").write_text(YAML)
    (tmp_path / "work-pools.yaml").write_text("work_pools: [{name: yeedu-pool}]")
    (tmp_path / "home").mkdir()

    def run(*arguments, **environment):
        base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "DO_NOT_TRACK": "1"}
        return subprocess.run(
            [sys.executable, "-m", "yeedu_deployer", *arguments],
            cwd=tmp_path,
            env=base | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )

    return run


def test_plan_apply_and_plan_again_through_files_that_hold_the_secrets(platform, deployer, tmp_path):
    environment = {
        "PREFECT_API_URL": platform.server.url,
        "PREFECT_API_AUTH_STRING_FILE": str(
            platform.secret("auth", platform.server.environment["PREFECT_API_AUTH_STRING"])
        ),
        "PREFECT_UI_URL": "http://ui.example:8080/",
        "YEEDU_PASSWORD_FILE": str(platform.secret("password", CANARY)),
        "FLOWS_GIT_URL": platform.repository.url,
    }

    planned = deployer("plan", **environment)
    applied = deployer(**environment)
    nothing = deployer("plan", "--file", "prefect.yaml", **environment)

    assert [run.returncode for run in (planned, applied, nothing)] == [2, 0, 0]
    assert [run.stderr for run in (planned, applied, nothing)] == [""] * 3
    one = platform.client.read_deployment_by_name("one/one").id
    assert (
        f"deployment: one: created  http://ui.example:8080/deployments/deployment/{one}\n" in applied.stdout
    )
    assert "first run: one: started  http://ui.example:8080/runs/flow-run/" in applied.stdout
    assert (
        f"deployment: one: unchanged  http://ui.example:8080/deployments/deployment/{one}\n" in nothing.stdout
    )
    assert "canary" not in planned.stdout + applied.stdout + nothing.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ((), {}, "error: PREFECT_API_URL is not set; set it to the server's API, for example http://localhost:8080/api."),
        ((), {"PREFECT_API_URL": "localhost:8080"}, "error: PREFECT_API_URL is 'localhost:8080', which is no http URL; it looks like http://localhost:8080/api."),
        ((), {"PREFECT_API_URL": "http://[::1/api"}, "error: PREFECT_API_URL is 'http://[::1/api', which is no http URL; it looks like http://localhost:8080/api."),
        ((), {"PREFECT_API_URL": "http://x/api", "YEEDU_VERIFY_SSL": "yes"}, "error: YEEDU_VERIFY_SSL must be true or false, but it is 'yes'."),
        ((), {"PREFECT_API_URL": "http://x/api", "YEEDU_PASSWORD_FILE": "/no/file"}, "error: YEEDU_PASSWORD_FILE names /no/file, which cannot be read: No such file or directory."),
        (("--file", "none.yaml"), {"PREFECT_API_URL": "http://x/api"}, "error: none.yaml:1: there is no such file; name it with --file."),
        (("--timeout", "0"), {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "error: The Prefect server at http://127.0.0.1:9/api does not answer ([Errno 111] Connection refused) after 0 seconds; check PREFECT_API_URL and the server's log."),
        (("--timeout", "soon"), {}, "error: argument --timeout: 'soon' is not a number of seconds; see 'deployer apply --help'."),
        (("apply", "--fil", "x", "y"), {}, "error: unrecognized arguments: y; see 'deployer --help'."),
    ],
)  # fmt: skip
def test_wrong_input_gets_one_sentence_and_exit_code_1(deployer, arguments, environment, sentence):
    done = deployer(*arguments, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{sentence}\n")


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("WAREHOUSE_URL", "postgresql://[::1/city", "WAREHOUSE_URL is 'postgresql://[::1/city'; it looks like postgresql://USER@HOST:5432/DATABASE."),
        ("ALERT_WEBHOOK_URL_FILE", "https://[canary/hook", "ALERT_WEBHOOK_URL_FILE names a file that holds no http URL."),
        ("ALERT_SLACK_WEBHOOK_URL_FILE", "https://[canary/hook", "ALERT_SLACK_WEBHOOK_URL_FILE names a file that holds no http URL."),
    ],
)  # fmt: skip
def test_address_that_cannot_be_parsed_gets_one_sentence(tmp_path, variable, value, sentence):
    if variable.endswith("_FILE"):
        (tmp_path / "secret").write_text(value)
        value = str(tmp_path / "secret")
    with pytest.raises(ConfigurationError) as told:
        Configuration.from_environment({"PREFECT_API_URL": "http://x/api", variable: value})
    assert str(told.value) == sentence


def test_wrong_authentication_gets_one_sentence(server, deployer):
    wrong = deployer(PREFECT_API_URL=server.url, PREFECT_API_AUTH_STRING="admin:canary-wrong")
    assert wrong.returncode == 1
    assert wrong.stderr == (
        f"error: The Prefect server at {server.url} cannot be used: the server rejects the credentials; "
        "check PREFECT_API_AUTH_STRING or its file.\n"
    )


def test_a_failure_is_told_and_gives_exit_code_1(platform, deployer):
    done = deployer(**platform.server.environment, FLOWS_GIT_URL="file:///no/such/repository")
    assert done.returncode == 1
    assert "deployment: one: failed\n" in done.stdout
    assert done.stderr.startswith(
        "error: prefect.yaml:1: deployment 'one': the git repository file:///no/such/repository is not a git "
    )
    assert len(done.stderr.splitlines()) == 1
