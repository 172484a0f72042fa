"""The websocket when the other side misbehaves."""

import base64
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from addressed import AddressedClient
from scripted_yeedu import TENANT, TOKEN

from prefect_yeedu.client import kernel_channel
from prefect_yeedu.client.kernel_channel import KernelChannel
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.errors import YeeduAuthenticationError, YeeduError, YeeduNotFound, YeeduTransportError

SELECTED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def upgraded(request: bytes) -> bytes:
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = base64.b64encode(digest).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", "", ""]).encode()


@contextmanager
def server(behave: Callable[[socket.socket, bytes], None]) -> Iterator[KernelChannel]:
    """Serve websockets that behave as the test says; yields a channel to them."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536)
            if request.startswith(b"POST"):
                connection.sendall(SELECTED)
            elif request:
                behave(connection, request)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/tenant/{TENANT}/workspace/1/notebook/5"
    with AddressedClient(url, Credentials(token=TOKEN)) as client:
        channel = KernelChannel(client, "workspace/1/notebook/run/9/kernel")
        yield channel
        channel.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def stay_silent(connection: socket.socket, request: bytes) -> None:
    connection.sendall(upgraded(request))
    while connection.recv(65536):
        pass


def listen(channel: KernelChannel, times: int) -> None:
    for _ in range(times):
        assert channel.receive(0.05) is None


def test_a_connection_without_a_sign_of_life_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_channel, "PING_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(kernel_channel, "LOST_AFTER_SECONDS", 0.6)
    with server(stay_silent) as channel:
        channel.open()
        with pytest.raises(YeeduTransportError, match="no sign of life"):
            listen(channel, 100)
        assert not channel.is_open


def test_a_connection_that_answers_pings_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_channel, "PING_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(kernel_channel, "LOST_AFTER_SECONDS", 5.0)

    def answer_pings(connection: socket.socket, request: bytes) -> None:
        connection.sendall(upgraded(request))
        with suppress(ConnectionError):  # the channel closes without waiting for an answer
            while connection.recv(65536):
                connection.sendall(b"\x8a\x00")

    with server(answer_pings) as channel:
        channel.open()
        listen(channel, 120)
        assert channel.is_open


@pytest.mark.parametrize("piece", [b"\x89\x00", b"\x81"], ids=["pings", "drops of a message"])
def test_a_read_comes_back_in_time_whatever_else_comes(piece: bytes) -> None:
    """A read of the library's own begins its time limit anew with every frame, and every piece of one."""
    is_over = threading.Event()
    long_text = b"\x81\x7f" + (1_000_000).to_bytes(8)

    def keep_talking(connection: socket.socket, request: bytes) -> None:
        connection.sendall(upgraded(request) + (b"" if piece == b"\x89\x00" else long_text))
        with suppress(OSError):
            while not is_over.wait(0.02):
                connection.sendall(piece)

    with server(keep_talking) as channel:
        channel.open()
        begun_at = time.monotonic()
        assert channel.receive(0.3) is None
        assert 0.2 < time.monotonic() - begun_at < 60
        is_over.set()


def test_a_message_that_comes_in_pieces_is_put_together() -> None:
    frame = b"\x81\x05hello"

    def send_in_pieces(connection: socket.socket, request: bytes) -> None:
        connection.sendall(upgraded(request) + frame[:3])
        pieces_may_go_on.wait(60)
        connection.sendall(frame[3:])
        connection.recv(65536)

    pieces_may_go_on = threading.Event()
    with server(send_in_pieces) as channel:
        channel.open()
        assert channel.receive(0.1) is None
        pieces_may_go_on.set()
        assert channel.receive(60) == "hello"


@pytest.mark.parametrize("farewell", [b"", b"\x88\x02\x03\xe8", b"\xff\xff\xff\xff"])
def test_a_connection_that_ends_is_lost_without_its_token_being_told(farewell: bytes) -> None:
    def leave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(upgraded(request) + farewell)

    with server(leave) as channel:
        channel.open()
        with pytest.raises(YeeduTransportError, match="is lost") as caught:
            channel.receive(60)
        assert TOKEN not in str(caught.value)
        with pytest.raises(YeeduTransportError, match="not open"):
            channel.send("x")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, "", YeeduAuthenticationError),
        (404, '{"error_code": "RFA-000404"}', YeeduNotFound),
        (404, "default backend - 404", YeeduTransportError),
        (500, "", YeeduTransportError),
        (0, "", YeeduTransportError),
    ],
)
def test_a_refused_handshake_is_told_in_words_without_the_token(
    status: int, body: str, kind: type[YeeduError]
) -> None:
    def refuse(connection: socket.socket, request: bytes) -> None:
        if status:
            head = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(f"{head}{body}".encode())

    with server(refuse) as channel, pytest.raises(kind) as caught:
        channel.open()
    assert TOKEN not in str(caught.value)
