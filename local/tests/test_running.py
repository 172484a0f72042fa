"""Whoever uses the database is stopped before another takes its place, whatever the files say by then."""

import re
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from local.console import Console
from local.containers.engine import Project
from local.containers.running import USERS, stop_users
from local.settings.platform import Settings
from tests.compose_files import services
from tests.pages import text

FILES = ("docker-compose.yaml", "deploy/scale.yaml")


def test_whoever_reaches_the_database_or_its_api_is_among_them() -> None:
    found = {
        name
        for name, service in services(*FILES).items()
        if "PREFECT_API_URL" in service["environment"]
        or {"database-secrets:/run/platform/database:ro", "server-secrets:/run/platform/server:ro"}
        & {volume for volume in service["volumes"] if isinstance(volume, str)}
    }
    assert {"server", "backup", "worker", "yeedu-watch"} < found
    assert found - {"postgres"} == set(USERS)


def test_a_restore_by_hand_on_a_swarm_stops_them_too() -> None:
    page = text("docs/swarm.md")
    scaled = set(re.findall(r"yeedu-prefect_([\w-]+)=0", page))
    named = {name for name in ("services", "image-worker", "dask-worker") if f"{name}`" in page}
    assert scaled | named == {name for name in USERS if name not in {"deployer", "migrate"}}, "these ended"


@pytest.fixture
def project() -> Iterator[Project]:
    """Containers of a project, of which the checkout's files know one alone without more settings."""
    project = Project(Settings({"COMPOSE_PROJECT_NAME": f"yeedu-prefect-local-{uuid.uuid4().hex[:8]}"}))
    names = [f"{project.name}-{service}" for service in ("postgres", "services", "backup")]
    try:
        for name in names:
            labels = {"project": project.name, "service": name.rpartition("-")[2]}
            options = [f"--label=com.docker.compose.{label}={value}" for label, value in labels.items()]
            container = ("--name", name, "--network=none", "--restart=unless-stopped", *options)
            command = ("docker", "run", "--detach", "--init", *container, "--entrypoint=sleep")
            subprocess.run([*command, "postgres:17", "infinity"], check=True, capture_output=True)
        yield project
    finally:
        subprocess.run(["docker", "rm", "--force", *names], check=True, capture_output=True)


@pytest.mark.docker
def test_all_of_them_stop_and_the_database_does_not(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_users(project, Console())
    states = {one.service: one.status for one in project.containers()}
    assert states == {"postgres": "running", "services": "exited", "backup": "exited"}
    told = capsys.readouterr().out
    assert 0 < told.index("backup       stopped") < told.index("services     stopped")
    stop_users(project, Console())
