"""``yeedu-rescue``: watches the server until it is told to stop."""

import logging
import os
import signal
import sys
import threading
import time

from yeedu_rescue.errors import LoginRefused, SettingError
from yeedu_rescue.reconciler import Reconciler
from yeedu_rescue.server import Server
from yeedu_rescue.settings import Settings
from yeedu_rescue.status_page import status_page


def watch(settings: Settings, stop: threading.Event) -> None:
    """Reconcile until the event is set.

    Raises:
        OSError: The port of the status page is taken.
        LoginRefused: The server rejects the login.
    """
    server = Server(settings.api_url, settings.auth_string, settings.api_key)
    reconciler = Reconciler(server, settings, time.monotonic)
    with status_page(reconciler, settings.port):
        while not stop.is_set():
            reconciler.run_once()
            stop.wait(settings.interval_seconds)


def main() -> None:
    """Run the service, or exit with an error message."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        watch(Settings.from_environment(os.environ), stop)
    except SettingError as error:
        sys.exit(f"rescue: {error}")
    except LoginRefused as refused:  # a restart picks up the current login
        sys.exit(f"rescue: {refused}, then restart this service unless it restarts by itself")
    except OSError as error:
        sys.exit(f"rescue: the status page cannot be opened ({error}); set RESCUE_PORT to a free port")


if __name__ == "__main__":
    main()
