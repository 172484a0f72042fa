"""Opens the sockets that the server listens on; ``::`` means IPv6 and IPv4, as far as the kernel has them."""

import errno
import socket
from contextlib import ExitStack

_ABSENT = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Return sockets bound to an address, not yet listening; ``::`` is every address, of IPv4 as well.

    Raises:
        OSError: The address is taken, or is not one of this machine's.
    """
    addresses = ["::", "0.0.0.0"] if host == "::" else [host]  # noqa: S104 - as was asked for
    found: list[socket.socket] = []
    with ExitStack() as stack:
        for address in addresses:
            try:
                found.append(stack.enter_context(_bound(address, port)))
            except OSError as error:
                nothing_left = not found and address == addresses[-1]
                if nothing_left or error.errno not in _ABSENT:
                    raise
        stack.pop_all()
    return found


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # Without TCP's number, asyncio would delay small answers by 40 ms, until the client acknowledges.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
