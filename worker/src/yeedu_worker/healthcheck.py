"""Succeeds when the worker has polled the server lately: ``python -m yeedu_worker.healthcheck``.

Prefect's own health endpoint answers 200 while the last successful poll is at most 30 poll intervals old.
"""

import os
import sys
import urllib.error
import urllib.request


def main() -> None:
    """Leave with 0 when the worker polls, else with 1 and the reason."""
    port = os.environ.get("PREFECT_WORKER_WEBSERVER_PORT", "8080")
    url = f"http://127.0.0.1:{port}/health"
    try:
        # Never through a proxy that the environment may name: the worker is in this container.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=3).close()
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
