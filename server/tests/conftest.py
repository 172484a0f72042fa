"""The server as the platform starts it, behind its guard, with a login."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prefect_process import PrefectProcess

sys.path.insert(0, str(Path(__file__).parents[1]))  # its modules find each other there, as in the image

LOGIN = ("admin", "canary-of-the-login")
AUTH_STRING = ":".join(LOGIN)
SERVE = Path(__file__).with_name("serve_unslowed.py")


@pytest.fixture(scope="session")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectProcess]:
    settings = {
        "PREFECT_SERVER_API_AUTH_STRING": AUTH_STRING,
        "PREFECT_API_AUTH_STRING": AUTH_STRING,
        "PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START": "false",
    }
    with PrefectProcess(tmp_path_factory.mktemp("closed-server"), settings, [str(SERVE)]) as server:
        yield server
