"""Checks the network: name resolution, proxies, certificates."""

import ipaddress
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.request import getproxies, proxy_bypass

from local.doctor.certificates import check_certificates
from local.doctor.external_addresses import external_addresses, proxy_to
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import Site
from local.settings.own_database import HOST as DATABASE_HOST


def check_names(site: Site) -> Iterator[Finding]:
    """Look up the hosts that the settings name, on this machine and where flows run."""
    looked = 0
    for setting, (scheme, host, _) in external_addresses(site).items():
        if _is_address(host) or host == "localhost" or proxy_to(scheme, host):
            continue
        fix = f"correct {setting} in .env, or this machine's name service (/etc/resolv.conf)"
        if trouble := _unresolved(host):
            yield wrong(f"{host} ({setting}) does not resolve on this machine: {trouble}", fix)
        elif site.runs("worker") and setting not in {"PACKAGE_INDEX_URL", DATABASE_HOST}:
            done = site.inside("worker", "getent", "hosts", host)
            if done.code:
                yield wrong(
                    f"{host} ({setting}) resolves on this machine, and not in the container worker",
                    'give Docker a name server: "dns" in /etc/docker/daemon.json',
                )
            else:
                looked += 1
        else:
            looked += 1
    for service in ("server", "git-server", "yeedu-mock"):
        if site.runs("worker") and site.runs(service):
            if site.inside("worker", "getent", "hosts", service).code:
                yield wrong(
                    f"{service} does not resolve in the container worker", "`make down`, then `make up`"
                )
            else:
                looked += 1
    yield ok(f"{looked} names resolve" if looked else "no setting names a host to look up")


def _is_address(host: str) -> bool:
    return bool(re.fullmatch(r"[\d.]+|[\da-fA-F:]*:[\da-fA-F:.]*", host))


def _unresolved(host: str) -> str:
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def docker_proxies(home: Path | None = None) -> dict[str, str]:
    """Return the proxies that Docker's client gives to every container (``proxies`` of its config.json)."""
    folder = os.environ.get("DOCKER_CONFIG") or (home or Path.home()) / ".docker"
    try:
        configured: Any = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        found = configured.get("proxies", {}).get("default", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return cast("dict[str, str]", found) if isinstance(found, dict) else {}


def check_proxies(site: Site) -> Iterator[Finding]:
    """Compare this machine's proxies with those of containers, and check what must be reached without one."""
    shell = {name: value for name, value in getproxies().items() if name in {"http", "https", "all"}}
    containers = docker_proxies()
    given = {name.removesuffix("Proxy") for name, value in containers.items() if name != "noProxy" and value}
    uses_containers = site.engine.is_usable and not site.is_process_form
    missing = sorted(set(shell) - given - {"all"})
    far = [
        setting
        for setting, (scheme, host, _) in external_addresses(site).items()
        if scheme in missing and not _is_near(host) and not _goes_direct(host)
    ]
    if uses_containers and missing:
        text = f"this shell has {', '.join(f'{one}_proxy' for one in missing)}, and containers get none"
        fix = 'set "proxies": {"default": {"httpsProxy": ...}} in ~/.docker/config.json; then `make up`'
        # If a worker runs, its own access to git and Yeedu says more: see `git`, `yeedu`.
        is_sure = far and not site.runs("worker")
        yield wrong(f"{text}, while {far[0]} is reached by one", fix) if is_sure else note(text, fix)
    direct = {
        one.strip() for one in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    }
    near = {"localhost", "127.0.0.1"}
    if shell and "*" not in direct and not near <= direct:
        yield note(
            f"NO_PROXY of this shell lacks {', '.join(sorted(near - direct))}: `prefect` typed here asks the "
            "proxy for the platform",
            "export NO_PROXY=localhost,127.0.0.1,::1",
        )
    if site.runs("worker"):
        yield from _inside_worker(site)
    yield ok(
        f"proxies: {', '.join(sorted(shell))} here, {', '.join(sorted(given)) or 'none'} in containers"
        if shell or given
        else "no proxy is set"
    )


def _inside_worker(site: Site) -> Iterator[Finding]:
    """Check that the worker reaches the platform's own services without its proxy."""
    program = (
        "import os; print(os.environ.get('no_proxy', '')); print(*[n for n in os.environ if n.lower() in "
        "('http_proxy', 'https_proxy', 'all_proxy')])"
    )
    lines = site.inside("worker", "with-secrets", "python", "-S", "-c", program).output.split("\n")
    if len(lines) > 1 and lines[1].strip():
        direct = {one.strip() for one in lines[0].split(",")}
        lacking = sorted({"server", "git-server", "yeedu-mock", "warehouse"} - direct)
        if lacking and "*" not in direct:
            yield wrong(
                f"NO_PROXY in the container worker lacks {', '.join(lacking)}",
                "leave DIRECT_HOSTS of docker-compose.yaml as it was; then `make up`",
            )


def _goes_direct(host: str) -> bool:
    """Tell whether NO_PROXY names a host, or a network that contains its address."""
    if proxy_bypass(host):
        return True
    for one in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(","):
        with suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(one.strip(), strict=False):
                return True
    return False


def _is_near(host: str) -> bool:
    return "." not in host or host.startswith("127.") or host.endswith(".localhost")


THEME = Theme(
    "network",
    (
        Check(
            "names",
            "the hosts that settings name, and the platform's own, here and in the worker's container",
            "one does not resolve",
            "the setting; the name service of this machine, or Docker's",
            check_names,
        ),
        Check(
            "proxies",
            "this shell's proxies, those of Docker's client, and what is reached without one",
            "no worker runs, and containers lack an address's proxy; the platform's own services go by one",
            "`proxies` in `~/.docker/config.json`",
            check_proxies,
        ),
        Check(
            "certificates",
            "the TLS certificates of git, Yeedu, another server, a database of your own, the platform's own "
            "https, and `CA_CERT_FILE`",
            "one is not trusted, or has ended; of `CA_CERT_FILE`, all have",
            "renew it; `CA_CERT_FILE`",
            check_certificates,
        ),
    ),
)
