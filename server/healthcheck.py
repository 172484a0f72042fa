#!/usr/bin/env python3
"""Succeeds when the Prefect API answers and reaches its database (``/api/ready``), within three seconds."""

import os
import socket
import sys
import urllib.error
import urllib.request


def main() -> None:
    """Leave with 0 when ready, else with 1 and the reason, which ``docker inspect`` shows."""
    # By its own name, which leads to where the other containers reach it.
    url = os.environ.get("HEALTHCHECK_URL", f"http://{socket.gethostname()}:4200/api/ready")
    try:
        # Never through a proxy that the environment may name: the server is in this container.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=3).close()
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
