#!/usr/bin/env python3
"""Succeeds if, within three seconds, the Prefect API answers that its database and its services work."""

import os
import socket
import sys
import urllib.error
import urllib.request


def main() -> None:
    """Exit with 0 if all is well, else with 1 and the reason, which ``docker inspect`` shows."""
    # By its own name, which resolves to the address where other containers reach it.
    url = os.environ.get("HEALTHCHECK_URL", f"http://{socket.gethostname()}:4200/api/health/services")
    try:
        # Never through a proxy that the environment may name: the server is in this container.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=3).close()
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error}: {error.read(500).decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
