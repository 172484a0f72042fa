"""Which ports are free, and who holds the others."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local.errors import CommandError
from local.ports import free_port, holder, is_free, port_taken

LISTENER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's socket tables are Linux's")


def test_port_is_free_until_somebody_listens_and_again_afterwards() -> None:
    port = free_port()
    assert is_free("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)) as server:
        assert not is_free("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0] as connection:
            connection.shutdown(socket.SHUT_RDWR)  # leaves the port in TIME_WAIT
    assert is_free("127.0.0.1", port)


def test_listener_on_every_address_takes_the_loopback_port_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not is_free("127.0.0.1", server.getsockname()[1])


def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandError, match=r"192\.0\.2\.1:\d+ cannot be listened on"):
        is_free("192.0.2.1", free_port())


@linux
def test_holder_is_found_with_its_command() -> None:
    listener = subprocess.Popen(
        [sys.executable, "-c", LISTENER, "some-argument"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with listener:
        assert listener.stdout
        assert listener.stdin
        port = int(listener.stdout.readline())
        found = holder(port)
        listener.stdin.close()
    assert found
    assert found.pid == listener.pid
    assert sys.executable in found.command
    assert len(found.command) <= 100


@linux
def test_own_process_is_found_behind_an_ipv6_socket() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        found = holder(server.getsockname()[1])
    assert found
    assert found.pid == os.getpid()


def test_port_without_a_visible_holder_has_none(tmp_path: Path) -> None:
    assert holder(free_port()) is None
    assert holder(8080, proc=tmp_path) is None  # no /proc at all


def test_sentence_names_port_holder_and_setting() -> None:
    message = str(port_taken("PREFECT_PORT", 8080, "process 7 (python -m http.server)"))
    assert message.startswith("port 8080 is already in use by process 7 (python -m http.server);")
    assert "make up PREFECT_PORT=9080" in message
