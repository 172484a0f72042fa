"""The health check: succeeds if the worker has polled recently, and has space for flow runs.

Usage: ``python -m yeedu_worker.healthcheck``. Prefect's own health endpoint answers 200 while the last
successful poll is at most 30 poll intervals old. A worker that still waits for its work pool has nothing to
poll, and is healthy. Prints which patches the worker has left out, if any.
"""

import os
import sys
import urllib.error
import urllib.request

from yeedu_worker.free_space import prefect_home, shortages
from yeedu_worker.patch_report import last_report
from yeedu_worker.wait_status import waited_for


def main() -> None:
    """Exit with 0 if the worker polls or has nothing to poll yet, else with 1 and the reason."""
    if found := " ".join(shortages(os.environ)):
        sys.exit(found)
    if what := waited_for(os.environ):
        print(f"the worker waits for {what}")
        return
    port = os.environ.get("PREFECT_WORKER_WEBSERVER_PORT", "8080")
    url = f"http://127.0.0.1:{port}/health"
    try:
        # Never through a proxy that the environment may name: the worker is in this container.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=3).close()
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"{url}: {error}")
    print(last_report(prefect_home(os.environ)), end="")


if __name__ == "__main__":
    main()
