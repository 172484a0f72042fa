"""Publishes /checkout as flows.git, then becomes lighttpd, so that signals reach it directly."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from snapshot import main as publish_checkout

CHECKOUT = Path("/checkout")
REPOSITORY = Path("/srv/flows.git")  # lighttpd.conf names it too
LOGIN = Path("/run/platform/api/auth-string")  # lighttpd-login.conf and git-credential-platform name it too
LIGHTTPD = "/usr/sbin/lighttpd"


def configuration() -> Path:
    """Return lighttpd's configuration, the one with a login if the platform has a login."""
    has_login = LOGIN.exists() and bool(LOGIN.read_text(encoding="utf-8").strip())
    return Path(__file__).with_name("lighttpd-login.conf" if has_login else "lighttpd.conf")


def address() -> str:
    """Return the address to listen on: all of IPv4, and of IPv6 if the kernel has it."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:
        return "0.0.0.0"  # noqa: S104 - who reaches it is up to compose
    return "[::]"


def main() -> None:
    """Become lighttpd, or exit with a non-zero code if the checkout cannot be served."""
    # As process 1 of a container, Python would otherwise ignore SIGTERM while it takes a snapshot.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    exit_code = publish_checkout([str(CHECKOUT), str(REPOSITORY)])
    if exit_code != 0:
        sys.exit(exit_code)
    sys.stdout.flush()
    os.dup2(1, 3)  # lighttpd replaces its standard output by /dev/null; its access log goes to 3
    environment = {**os.environ, "GIT_SERVER_BIND": address()}
    os.execve(LIGHTTPD, [LIGHTTPD, "-D", "-f", str(configuration())], environment)  # noqa: S606 - no shell wanted


if __name__ == "__main__":
    main()
