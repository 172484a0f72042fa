"""The sockets that the server listens on: at ``::`` of both families, as far as the kernel has them."""

import errno
import socket
from contextlib import ExitStack

_ABSENT = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def listeners(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen at an address; ``::`` stands for every address, of IPv4 as well.

    Raises:
        OSError: The address is taken, or is none of this machine's.
    """
    addresses = ["::", "0.0.0.0"] if host == "::" else [host]  # noqa: S104 - as was asked for
    found: list[socket.socket] = []
    with ExitStack() as stack:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                listener = stack.enter_context(socket.create_server((address, port), family=family))
            except OSError as error:
                nothing_left = not found and address == addresses[-1]
                if nothing_left or error.errno not in _ABSENT:
                    raise
                continue
            # Connections inherit it. asyncio sets it only on sockets made for TCP by number; without it a
            # small answer on a kept connection waits some 40 ms for the client's acknowledgement.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found.append(listener)
        stack.pop_all()
    return found
