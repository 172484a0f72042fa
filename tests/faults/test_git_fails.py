"""The flows' repository is away, refuses, or holds something bad."""

import subprocess
import uuid

import pytest

from tests.e2e.test_backup import secret_block
from tests.faults.conftest import Row
from tests.faults.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900), pytest.mark.fault(27)]

FLOW = "flows/print_message.py"
REVOKED = f"canary-{uuid.uuid4()}"


def failed(stack: Stack, deployment: str) -> str:
    """Start a flow run that has to fail, and return all that is told about it."""
    _, told = stack.failed(stack.api.start(deployment), timeout_seconds=240)
    return told


def assert_recovered(stack: Stack) -> None:
    assert stack.api.run("print-message")["state_type"] == "COMPLETED"


def test_git_host_that_is_down_fails_what_starts_and_nothing_else(stack: Stack, row: Row) -> None:
    row.injected = "git-server stopped while one flow runs and another one starts"
    job = stack.yeedu_job(15)
    under_way = stack.start_running(job)
    stack.compose("stop", "git-server")
    try:
        told = failed(stack, "print-message")
    finally:
        stack.start_service("git-server")
    assert "git-server:8080/flows.git" in told, told
    assert stack.succeeded(under_way)["run_count"] == 1
    assert_recovered(stack)
    row.held.append(
        "the one that starts fails, and names the repository; the other one and the next Completed"
    )


def test_revoked_token_is_named_nowhere(stack: Stack, row: Row) -> None:
    row.injected = "the repository refuses the token of a deployment's pull step"
    secret_block(stack, "revoked", REVOKED)
    # By its address: for its name, git would go on to ask for the platform's own login.
    repository = f"http://{stack.address_of('git-server')}:8080/flows.git"
    step = {"repository": repository, "access_token": "{{ prefect.blocks.secret.revoked }}"}
    stack.deploy_copy("revoked", "print-message", pull_steps=[{"prefect.deployments.steps.git_clone": step}])
    told = failed(stack, "revoked")
    assert repository in told, told
    assert REVOKED not in told + stack.diagnose(lines=1000)
    row.held.append("the run fails, and names the repository, not the token")


def test_rewritten_history_is_what_the_next_run_has(stack: Stack, row: Row) -> None:
    row.injected = "force-push: the branch's last commit is replaced by another one"
    stack.edit(FLOW, 'message: str = "', 'message: str = "first ')
    assert_message(stack, "first ")
    stack.edit(FLOW, 'message: str = "first ', 'message: str = "second ')
    git = ["git", "-c", "user.name=Tester", "-c", "user.email=tester@localhost"]
    for command in (["reset", "--quiet", "--soft", "HEAD~2"], ["commit", "--quiet", "--message", "Rewrite"]):
        subprocess.run([*git, *command], cwd=stack.checkout, check=True)
    assert_message(stack, "second ")
    stack.edit(FLOW, 'message: str = "second ', 'message: str = "')
    row.held.append("the next run has the new commit")


def assert_message(stack: Stack, beginning: str) -> None:
    run = stack.api.run("print-message")
    assert run["state_type"] == "COMPLETED", stack.history(run["id"])
    stack.api.log_with(run["id"], beginning)


def test_bad_commit_fails_its_own_flow_alone(stack: Stack, row: Row) -> None:
    row.injected = "a commit with a syntax error in one flow"
    with stack.edited(FLOW, "def print_message(", "def print_message(("):
        told = failed(stack, "print-message")
        assert "print_message.py" in told
        assert "SyntaxError" in told
        assert stack.api.run("run-shell-command", {"command": "true"})["state_type"] == "COMPLETED"
    assert_recovered(stack)
    row.held.append(
        "its run fails, with the file and the error; another flow and, once mended, this one Completed"
    )
