"""Shares one login session per process and connection."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from prefect_yeedu.client.client import YeeduClient

if TYPE_CHECKING:
    from prefect_yeedu.client.connection import Connection

_shared: dict[tuple[int, Connection], YeeduClient] = {}
_sharing = threading.Lock()


def shared_client(connection: Connection) -> YeeduClient:
    """Return this process's client for a connection; it logs out when the process ends."""
    key = (os.getpid(), connection)
    with _sharing:
        if key not in _shared:
            _shared[key] = YeeduClient(connection)
        return _shared[key]


def _forget_lock() -> None:
    """Give a forked child its own lock, as another thread of its parent may have held the inherited one."""
    global _sharing
    _sharing = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)


@atexit.register
def close_shared_clients() -> None:
    """Log out of every session that this process has opened."""
    with _sharing:
        clients = [_shared.pop(key) for key in list(_shared) if key[0] == os.getpid()]
    for client in clients:
        client.close()
