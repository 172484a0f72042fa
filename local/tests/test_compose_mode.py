"""What `make up` says when a container refuses to start, on a real engine."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.settings.platform import ROOT
from tests.platforms import IMAGES, free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]  # the first build of the images is among it


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    port = free_port()
    environment = {
        **os.environ,
        **IMAGES,
        "COMPOSE_PROJECT_NAME": f"yeedu-prefect-local-{port}",
        "PREFECT_PORT": str(port),
        "YEEDU_MOCK_PORT": str(free_port()),
    }
    yield environment
    subprocess.run(
        ["docker", "compose", "down", "--volumes"], cwd=ROOT, env=environment, check=True, capture_output=True
    )


def test_one_shot_that_refuses_is_named_with_its_own_sentence(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local", "up"],
        cwd=ROOT,
        env={**environment, "PREFECT_BIND_ADDRESS": "0.0.0.0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "secrets: PREFECT_BIND_ADDRESS=0.0.0.0 opens the API to other machines" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("make up: secrets: exited with code 1")
    assert "Traceback" not in done.stdout + done.stderr
