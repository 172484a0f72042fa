"""The external addresses that the settings name."""

import re
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from local.doctor.site import Site
from local.settings.own_database import HOST as DATABASE_HOST

_ADDRESSES = (
    *("FLOWS_GIT_URL", "YEEDU_JOB_URL", "YEEDU_NOTEBOOK_URL", "YEEDU_HEALTH_URL", "PREFECT_API_URL"),
    *("WAREHOUSE_URL", "PACKAGE_INDEX_URL", "REDIS_URL"),
)
_SERVICES = ("server", "git-server", "yeedu-mock", "warehouse", "postgres")
_SCP = re.compile(r"^[^/:@]+@([^/:]+):(?!//)")
DATABASE_TLS = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED"
PORTS = {"https": 443, "postgresql": 5432, "rediss": 6379}


def external_addresses(site: Site) -> dict[str, tuple[str, str, int]]:
    """Return the scheme, host and port of each external address that the platform uses, by setting."""
    found: dict[str, tuple[str, str, int]] = {}
    for setting in _ADDRESSES:
        value = site.settings.get(setting)
        if scp := _SCP.match(value):
            found[setting] = ("ssh", scp[1], 22)
            continue
        try:
            parts = urlsplit(value)
            host, port = parts.hostname, parts.port
        except ValueError:
            continue
        if host and host not in _SERVICES and parts.scheme != "file":
            found[setting] = (parts.scheme, host, port or PORTS.get(parts.scheme, 80))
    if host := site.settings.get(DATABASE_HOST):
        port = site.settings.get("PREFECT_SERVER_DATABASE_PORT", "5432")
        found[DATABASE_HOST] = ("postgresql", host, int(port) if port.isdecimal() else 5432)
    return found


def proxy_to(scheme: str, host: str) -> str:
    """Return the proxy through which this machine reaches a host; empty for none."""
    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all", "")
    return found if found and not proxy_bypass(host) else ""
