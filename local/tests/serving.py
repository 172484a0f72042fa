"""Services for tests of how they start: real processes that need nothing."""

import sys
from collections.abc import Callable

from local.processes.service import Service
from tests.platforms import free_port

SERVES = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def serving(name: str, program: str = SERVES) -> Service:
    """Return a service that answers at a free port as soon as it runs, or whatever the program does."""
    port = free_port()
    return Service(name, [sys.executable, "-c", program, str(port)], {}, port, f"http://127.0.0.1:{port}/")


def giving(value: object) -> Callable[..., object]:
    """Return a function that takes anything and gives this."""

    def give(*_: object, **__: object) -> object:
        return value

    return give
