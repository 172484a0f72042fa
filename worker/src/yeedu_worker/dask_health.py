"""The health check of the Dask containers: ``python -m yeedu_worker.dask_health``."""

import sys
import urllib.error
import urllib.request

URL = "http://127.0.0.1:8787/health"


def main() -> None:
    """Exit with 0 if Dask's health page answers, else with 1 and the reason."""
    try:
        # Never through a proxy that the environment may name: Dask runs in this container.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(URL, timeout=3).close()
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"{URL}: {error}")


if __name__ == "__main__":
    main()
