"""What TLS fails with on the way to Yeedu: a dropped handshake is weather, a certificate is a setting."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from addressed import AddressedClient
from fake_clock import FakeClock
from mock_yeedu import self_signed
from scripted_yeedu import PASSWORD, TENANT, ScriptedYeedu
from watched_run import RUN, WatchedRun, state

from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.client.transport import Timeouts
from prefect_yeedu.errors import YeeduConfigurationError, YeeduTransportError
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.models import Generation, RunKind
from prefect_yeedu.retry_policy import ONCE
from prefect_yeedu.runs.job_run import JobRun


@dataclass
class LoadBalancer:
    """Ends TLS in front of a Yeedu, one request a connection, and drops connections when told to.

    Attributes:
        drops: What becomes of the next connections, one by one: `connect` (closed at once), `hello` (closed
            after the client's first words), `reset` (the same, rudely), `request` (closed after the request),
            `answer` (closed in the midst of the answer); the others are served.
    """

    certificate: Path
    port: int
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    drops: list[str] = field(default_factory=list[str])

    @property
    def own_port(self) -> int:
        return self.listener.getsockname()[1]

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self.listener.accept()
                with contextlib.suppress(OSError), raw:
                    self.carry(raw, self.drops.pop(0) if self.drops else "")

    def carry(self, raw: socket.socket, drop: str) -> None:
        raw.settimeout(60)
        if drop == "connect":
            return
        if drop in {"hello", "reset"}:
            raw.recv(5)
            if drop == "hello":
                raw.recv(65536)  # what is left unread would reset the connection
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        with context.wrap_socket(raw, server_side=True) as client:
            request = client.recv(65536)
            if drop == "request":
                return
            head, _, rest = request.partition(b"\r\n\r\n")
            length = next((line for line in head.lower().split(b"\r\n") if b"content-length" in line), b":0")
            while len(rest) < int(length.partition(b":")[2]):
                rest += client.recv(65536)
            head = b"\r\n".join(line for line in head.split(b"\r\n") if b"Connection:" not in line)
            with socket.create_connection(("127.0.0.1", self.port)) as server:
                server.sendall(head + b"\r\nConnection: close\r\n\r\n" + rest)
                answer = b""
                while piece := server.recv(65536):
                    answer += piece
            head, _, body = answer.partition(b"\r\n\r\n")
            answer = head + b"\r\nConnection: close\r\n\r\n" + body
            client.sendall(answer[:-5] if drop == "answer" else answer)


@pytest.fixture
def balancer(yeedu: ScriptedYeedu, tmp_path: Path) -> Iterator[LoadBalancer]:
    balancer = LoadBalancer(self_signed(tmp_path), yeedu.port)
    thread = threading.Thread(target=balancer.serve, daemon=True)
    thread.start()
    yield balancer
    with contextlib.suppress(OSError):
        balancer.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
    balancer.listener.close()
    thread.join()


def api_of(balancer: LoadBalancer, *, trusts: bool = True) -> RunAPI:
    clock = FakeClock()
    client = AddressedClient(
        f"https://127.0.0.1:{balancer.own_port}/tenant/{TENANT}/workspace/1/spark/job/5",
        Credentials("demo", PASSWORD),
        tls=TLSSettings.from_options(True, balancer.certificate if trusts else None),
        timeouts=Timeouts(30.0, 30.0),  # a busy machine is no failure
        clock=clock,
    )
    return RunAPI(client, 1, RunKind.JOB, Generation.V2, clock)


@pytest.fixture
def api(balancer: LoadBalancer) -> Iterator[RunAPI]:
    """Calls through the balancer, with a session."""
    calls = api_of(balancer)
    calls.client.log_in()
    yield calls
    calls.client.close()


@pytest.mark.parametrize("drop", ["connect", "hello", "reset"])
def test_a_handshake_that_is_dropped_is_weather_and_nothing_was_sent(
    balancer: LoadBalancer, api: RunAPI, yeedu: ScriptedYeedu, drop: str
) -> None:
    yeedu.on("GET", RUN, state("RUNNING"))
    balancer.drops = [drop]
    with pytest.raises(YeeduTransportError) as caught:
        api.read(9, retries=ONCE)
    assert caught.value.was_sent is False
    assert classify(caught.value) is Failure.TRANSIENT
    assert "YEEDU_VERIFY_SSL" not in str(caught.value)
    assert not yeedu.called("GET", RUN)


@pytest.mark.parametrize("drop", ["request", "answer"])
def test_a_connection_that_is_lost_later_may_have_carried_the_request(
    balancer: LoadBalancer, api: RunAPI, yeedu: ScriptedYeedu, drop: str
) -> None:
    yeedu.on("GET", RUN, state("RUNNING"))
    balancer.drops = [drop]
    with pytest.raises(YeeduTransportError) as caught:
        api.read(9, retries=ONCE)
    assert caught.value.was_sent is True


def test_a_wait_outlasts_dropped_handshakes(
    balancer: LoadBalancer, api: RunAPI, yeedu: ScriptedYeedu
) -> None:
    watched = WatchedRun(yeedu)
    yeedu.on("GET", RUN, state("RUNNING"), state("RUNNING"), state("DONE"))
    balancer.drops = ["", "", "", "hello", "connect", "reset", "request", "answer"]
    run = JobRun(api, 9, listener=watched.listener, ledger=watched.ledger)
    assert run.wait().state == "DONE"
    assert balancer.drops == []
    assert watched.record.state is run.state
    assert not watched.stops


def test_a_certificate_that_is_not_trusted_is_a_setting_on_our_side(balancer: LoadBalancer) -> None:
    api = api_of(balancer, trusts=False)
    with pytest.raises(YeeduConfigurationError, match="is not trusted or not valid") as caught:
        api.read(9)
    assert classify(caught.value) is Failure.OURS
    assert api.clock.now() == 0  # and is not tried again
