#!/usr/bin/env python3
"""Succeeds when the Prefect API answers, reaches its database and has its services run, in three seconds."""

import os
import sys
import urllib.error
import urllib.request


def main() -> None:
    """Leave with 0 when all of it is well, else with 1 and the reason, which ``docker inspect`` shows."""
    url = os.environ.get("HEALTHCHECK_URL", "http://127.0.0.1:4200/api/health/services")
    try:
        urllib.request.urlopen(url, timeout=3).close()  # noqa: S310 - the URL is the platform's own
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error}: {error.read(500).decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
