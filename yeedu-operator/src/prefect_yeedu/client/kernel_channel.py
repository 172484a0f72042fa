"""The websocket to a notebook's kernel: sends and receives text, and detects a lost connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import websocket

from prefect_yeedu.errors import YeeduAPIError, YeeduAuthenticationError, YeeduNotFound, YeeduTransportError

if TYPE_CHECKING:
    from prefect_yeedu.client.client import YeeduClient
    from prefect_yeedu.retry_policy import Clock

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 15.0
SEND_TIMEOUT_SECONDS = 30.0
PING_AFTER_SECONDS = 10.0
LOST_AFTER_SECONDS = 30.0
# The token is part of the path; only characters that would break the address are escaped.
UNESCAPED = "/:@!$&'()*+,;=-._~"


class _Socket(websocket.WebSocket):
    """A websocket whose reads share one time limit, however many frames or pieces of frames arrive.

    The library's own limit starts again with each of them. What has been read of a frame is kept for the next
    read.
    """

    clock: Clock
    reads_until = 0.0
    heard_at = 0.0

    def _recv(self, bufsize: int) -> bytes:
        seconds = self.reads_until - self.clock.now()
        if seconds <= 0:
            raise websocket.WebSocketTimeoutException("no more time")
        self.settimeout(seconds)
        data = super()._recv(bufsize)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        self.heard_at = self.clock.now()
        return data


class KernelChannel:
    """A connection to one run's kernel; used by one thread.

    Args:
        client: The session whose token opens the websocket.
        path: The kernel's routes below the API's base.
    """

    def __init__(self, client: YeeduClient, path: str) -> None:
        self._client = client
        self._path = path
        self._socket: _Socket | None = None
        self._pinged_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    def open(self) -> None:
        """Open the websocket, logging in again once when the token is refused.

        Raises:
            YeeduTransportError: It cannot be opened now.
            YeeduAuthenticationError: The new token is refused as well.
            YeeduNotFound: There is no such kernel (any more).
        """
        self.close()
        token = self._client.token()
        try:
            self._socket = self._connect(token)
        except YeeduAuthenticationError:
            self._socket = self._connect(self._client.token(instead_of=token))
        self._pinged_at = self._socket.heard_at

    def send(self, text: str) -> None:
        """Send a text.

        Raises:
            YeeduTransportError: The connection is lost; whether the text arrived is not known.
        """
        socket = self._require()
        try:
            socket.settimeout(SEND_TIMEOUT_SECONDS)
            socket.send(text)
        except (websocket.WebSocketException, OSError) as error:
            failure = self._lost(error)
        else:
            return
        raise failure

    def receive(self, timeout_seconds: float) -> str | None:
        """Return the next text, or None if none arrives in time.

        A silent connection is pinged, and given up if it stays silent.

        Raises:
            YeeduTransportError: The connection is lost.
        """
        socket = self._require()
        socket.reads_until = self._client.clock.now() + max(timeout_seconds, 0.001)
        try:
            while True:
                opcode, frame = cast("tuple[int, Any]", socket.recv_data_frame(control_frame=True))  # pyright: ignore[reportUnknownMemberType]
                if opcode in {websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY}:
                    data = cast("bytes | str", frame.data)
                    return data if isinstance(data, str) else data.decode("utf-8", "replace")
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    raise websocket.WebSocketConnectionClosedException("closed by Yeedu")
        except websocket.WebSocketTimeoutException:
            failure = self._check_silence(socket)
        except (websocket.WebSocketException, OSError) as error:
            failure = self._lost(error)
        if failure is not None:
            raise failure
        return None

    def close(self) -> None:
        """Close the connection, if there is one."""
        socket, self._socket = self._socket, None
        if socket is None:
            return
        try:
            socket.close(timeout=0)  # do not wait for the other side's close frame
        except (websocket.WebSocketException, OSError) as error:
            logger.debug("Closing the kernel's websocket failed: %s", type(error).__name__)
        finally:
            socket.shutdown()  # close() leaves open a connection that the other side has closed

    def _require(self) -> _Socket:
        if self._socket is None:
            raise YeeduTransportError("The kernel's websocket is not open.")
        return self._socket

    def _check_silence(self, socket: _Socket) -> YeeduTransportError | None:
        now = self._client.clock.now()
        if now - socket.heard_at > LOST_AFTER_SECONDS:
            return self._lost(TimeoutError("no sign of life"))
        if now - max(socket.heard_at, self._pinged_at) > PING_AFTER_SECONDS:
            self._pinged_at = now
            try:
                socket.ping()
            except (websocket.WebSocketException, OSError) as error:
                return self._lost(error)
        return None

    def _lost(self, error: Exception) -> YeeduTransportError:
        self.close()
        reason = self._client.redactor.scrub(str(error)) or type(error).__name__
        return YeeduTransportError(f"The websocket to the kernel is lost ({reason[:200]}).")

    def _connect(self, token: str) -> _Socket:
        base = self._client.connection.base_url
        address = (
            f"ws{base.removeprefix('http')}/{self._path}/ws/yeedu_session/{quote(token, safe=UNESCAPED)}"
        )
        options: dict[str, Any] = (
            {"context": self._client.connection.tls.context()} if base.startswith("https") else {}
        )
        try:
            socket = websocket.create_connection(
                address,
                timeout=CONNECT_TIMEOUT_SECONDS,
                class_=_Socket,
                sslopt=options,
                enable_multithread=False,
                skip_utf8_validation=True,  # pure Python and slow on large outputs; decoding replaces instead
            )
        except websocket.WebSocketBadStatusException as error:
            failure = _refusal(error)
        except (websocket.WebSocketException, OSError, ValueError) as error:
            reason = self._client.redactor.scrub(str(error)) or type(error).__name__
            failure = YeeduTransportError(f"The websocket to the kernel cannot be opened ({reason[:200]}).")
        else:
            socket = cast("_Socket", socket)
            socket.clock, socket.heard_at = self._client.clock, self._client.clock.now()
            return socket
        # Raised here, as the library's exceptions may hold the address, which contains the token.
        raise failure


def _refusal(error: websocket.WebSocketBadStatusException) -> YeeduAPIError | YeeduTransportError:
    status, is_from_yeedu = error.status_code, b"error_code" in bytes(error.resp_body or b"")
    if status in {401, 403, 440}:
        return YeeduAuthenticationError(
            f"The token for the kernel's websocket was refused with status {status}.",
            status=status,
            is_from_yeedu=is_from_yeedu,
        )
    if status == 404 and is_from_yeedu:
        return YeeduNotFound("Yeedu knows no such kernel.", status=status)
    return YeeduTransportError(f"The websocket to the kernel was refused with status {status}.")
