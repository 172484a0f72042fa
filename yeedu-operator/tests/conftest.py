"""A scripted Yeedu on a free port, and the mock Yeedu as a subprocess."""

import socket
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

# Tests are imported without packages, so what they share needs a place that Python searches.
sys.path.append(str(Path(__file__).parent / "support"))
sys.path.append(str(Path(__file__).parents[1]))  # for `contract`, a program that is not installed

from hypothesis import HealthCheck, settings
from mock_yeedu import MockYeedu, running_mock, self_signed
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from prefect_blocks import save_blocks
from scripted_yeedu import TENANT, TOKEN, Handler, ScriptedYeedu

# How long an example takes says more about the machine's other work than about ours.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture
def yeedu() -> Iterator[ScriptedYeedu]:
    """A Yeedu that knows how to log in; everything else is for the test to say."""
    scripted = ScriptedYeedu()
    handler = type("BoundHandler", (Handler,), {"yeedu": scripted})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False  # a handler may be waiting on purpose
    scripted.port = server.server_address[1]
    scripted.on("GET", "login/auth_type", (200, {"auth_type": "LDAP"}))
    scripted.on("POST", "login", (200, {"token": TOKEN}))
    scripted.on("POST", f"user/select/{TENANT}", (201, {}))
    scripted.on("POST", "logout", (200, {}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield scripted
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockYeedu]:
    with running_mock(tmp_path_factory.mktemp("yeedu-mock")) as running:
        yield running


@pytest.fixture(scope="session")
def tls_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockYeedu]:
    """A mock that serves https, with a certificate that only its own file vouches for."""
    folder = tmp_path_factory.mktemp("yeedu-mock-tls")
    with running_mock(folder, self_signed(folder)) as running:
        yield running


@pytest.fixture
def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def prefect_server(mock: MockYeedu) -> Iterator[None]:
    """A Prefect server of our own, with the blocks of the published guide."""
    # Events go on to the server of earlier tests in this process, as long as what sends them lives.
    EventsWorker.drain_all(timeout=60)
    with (
        temporary_settings({PREFECT_SERVER_ANALYTICS_ENABLED: False}),
        prefect_test_harness(server_startup_timeout=240),  # a busy machine is no failure
    ):
        save_blocks(mock)
        yield
