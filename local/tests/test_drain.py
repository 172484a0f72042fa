"""A worker that is drained is told so in one step, and nobody starts it again."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from signal import SIGUSR1

import pytest

from local.containers.engine import Project
from local.processes.supervisor import Supervisor
from local.settings.platform import Settings
from tests.platforms import wait_for

DRAINED = ("--signal", "SIGUSR1", "-t", "60")
# Ends once it has been told both: to stop, and to take its time.
WORKER = """
import signal
both = {signal.SIGTERM, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, both)
print("ready", flush=True)
print(*sorted(signal.sigwait(both).name for _ in both), flush=True)
"""


def test_local_worker_is_asked_to_end_and_given_time_at_once(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, grace_seconds=5)
    folder = tmp_path / "worker"
    supervisor.start("worker", [sys.executable, "-c", WORKER], {"PATH": os.environ["PATH"]}, folder)
    try:
        log = supervisor.log("worker")
        wait_for("worker", lambda: log.exists() and "ready" in log.read_text(), 60)
        assert supervisor.stop("worker", 60, then=SIGUSR1)
    finally:
        supervisor.stop("worker")
    assert supervisor.log("worker").read_text().split() == ["ready", "SIGTERM", "SIGUSR1"]
    assert supervisor.records() == []


@pytest.fixture
def project() -> Iterator[Project]:
    """A project whose worker is idle, and so leaves as soon as it is told to."""
    project = Project(Settings({"COMPOSE_PROJECT_NAME": f"yeedu-prefect-local-{uuid.uuid4().hex[:8]}"}))
    labels = {"com.docker.compose.project": project.name, "com.docker.compose.service": "worker"}
    traps = "trap 'echo drained; exit 0' USR1; trap 'echo hurried; exit 1' TERM"
    command = f"{traps}; touch /tmp/ready; sleep infinity & wait"
    subprocess.run(
        [
            *("docker", "run", "--detach", "--init", "--restart", "unless-stopped", "--name", project.name),
            *(f"--label={name}={value}" for name, value in labels.items()),
            *("--network", "none", "--entrypoint", "bash", "postgres:17", "-c", command),
        ],
        check=True,
        capture_output=True,
    )
    asked = ["docker", "exec", project.name, "test", "-e", "/tmp/ready"]
    wait_for("traps", lambda: subprocess.run(asked, check=False).returncode == 0, 60)
    yield project
    subprocess.run(["docker", "rm", "--force", project.name], check=True, capture_output=True)


@pytest.mark.docker
def test_container_that_leaves_idle_is_not_started_again(project: Project) -> None:
    assert project.stop("worker", *DRAINED)
    [worker] = project.containers()
    assert (worker.status, worker.exit_code) == ("exited", 0)
    inspected = ["docker", "inspect", "--format", "{{.RestartCount}}", project.name]
    assert subprocess.check_output(inspected, text=True).strip() == "0"
    logged = subprocess.check_output(["docker", "logs", project.name], text=True)
    assert logged == "drained\n"
    assert not project.stop("worker", *DRAINED)
