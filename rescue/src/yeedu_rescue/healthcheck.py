"""The container's health check: ``python -m yeedu_rescue.healthcheck`` succeeds while the service works."""

import os
import sys
import urllib.error
import urllib.request


def main() -> None:
    """Exit with 0 if its status page says so, else with 1 and the reason."""
    url = f"http://127.0.0.1:{os.environ.get('RESCUE_PORT') or '8082'}/"
    try:
        # Never through a proxy that the environment may name: the page is this container's own.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=3).close()
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
