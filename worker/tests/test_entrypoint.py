"""The command line that a worker container starts."""

import os
import subprocess
import sys

import pytest

from yeedu_worker.entrypoint import (
    WorkerConfigurationError,
    has_prefork,
    hung_seconds,
    worker_command,
)

API = {"PREFECT_API_URL": "http://server:4200/api"}


def test_defaults_poll_the_platforms_pool_under_a_stable_name() -> None:
    command = worker_command(API)
    assert command[:2] == [sys.executable, "-m"]
    assert "yeedu_worker.serve" in command[2:4]
    assert command[command.index("--pool") + 1] == "yeedu-pool"
    assert command[command.index("--name") + 1] == "linux-worker"
    assert "--work-queue" not in command


def test_environment_chooses_pool_name_and_limit() -> None:
    chosen = {"WORKER_POOL": "gpu", "WORKER_NAME": "box 7", "WORKER_LIMIT": "3", "WORKER_GRACE_SECONDS": "60"}
    command = worker_command({**API, **chosen})
    assert command[command.index("--pool") + 1] == "gpu"
    assert command[command.index("--name") + 1] == "box 7"
    assert command[command.index("--limit") + 1] == "3"
    assert command[command.index("--grace-seconds") + 1] == "50"


def test_environment_chooses_the_queues() -> None:
    command = worker_command({**API, "WORKER_QUEUES": "default, of staging,,default"})
    assert command[-4:] == ["--work-queue", "default", "--work-queue", "of staging"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "PREFECT_API_URL is not set"),
        ({**API, "WORKER_LIMIT": "0"}, "WORKER_LIMIT='0'"),
        ({**API, "WORKER_LIMIT": "many"}, "WORKER_LIMIT='many'"),
        ({**API, "WORKER_GRACE_SECONDS": "5"}, "WORKER_GRACE_SECONDS='5'"),
        ({**API, "WORKER_HUNG_SECONDS": "5"}, "WORKER_HUNG_SECONDS='5'"),
        ({**API, "WORKER_QUEUES": "a/b"}, "WORKER_QUEUES='a/b': a queue's name has none of /"),
        ({**API, "WORKER_NAME": "a/b"}, "WORKER_NAME='a/b'"),
    ],
)
def test_mistake_names_the_setting(environment: dict[str, str], message: str) -> None:
    with pytest.raises(WorkerConfigurationError, match=message):
        (worker_command(environment), hung_seconds(environment))


def test_prefork_server_is_on_unless_switched_off() -> None:
    assert has_prefork({}) == has_prefork({"WORKER_PREFORK": "TRUE"}) == (sys.platform == "linux")
    assert not has_prefork({"WORKER_PREFORK": "false"})
    with pytest.raises(WorkerConfigurationError, match="WORKER_PREFORK='perhaps' is neither true nor false"):
        has_prefork({"WORKER_PREFORK": "perhaps"})


def test_mistake_on_the_command_line_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from yeedu_worker.entrypoint import main; main()"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("worker: PREFECT_API_URL is not set")
    assert done.stderr.count("\n") == 1
