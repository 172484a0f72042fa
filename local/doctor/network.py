"""The way to others: names, proxies, certificates."""

import ipaddress
import json
import os
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from local.doctor.model import Check, Finding, Level, Theme, note, ok, wrong
from local.doctor.site import ANSWER_SECONDS, Site
from local.growth import age_of
from local.own_database import HOST as DATABASE_HOST

_ADDRESSES = (
    *("FLOWS_GIT_URL", "YEEDU_JOB_URL", "YEEDU_NOTEBOOK_URL", "YEEDU_HEALTH_URL", "PREFECT_API_URL"),
    *("WAREHOUSE_URL", "PACKAGE_INDEX_URL"),
)
_SERVICES = ("server", "git-server", "yeedu-mock", "warehouse", "postgres")
_SCP = re.compile(r"^[^/:@]+@([^/:]+):(?!//)")
_SOON = timedelta(days=14)
DATABASE_TLS = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED"
_PORTS = {"https": 443, "postgresql": 5432}


def outside(site: Site) -> dict[str, tuple[str, str, int]]:
    """Return, by setting, scheme, host and port of what the platform reaches that is not its own."""
    found: dict[str, tuple[str, str, int]] = {}
    for knob in _ADDRESSES:
        value = site.knobs.get(knob)
        if scp := _SCP.match(value):
            found[knob] = ("ssh", scp[1], 22)
            continue
        try:
            parts = urlsplit(value)
            host, port = parts.hostname, parts.port
        except ValueError:
            continue
        if host and host not in _SERVICES and parts.scheme != "file":
            found[knob] = (parts.scheme, host, port or _PORTS.get(parts.scheme, 80))
    if host := site.knobs.get(DATABASE_HOST):
        port = site.knobs.get("PREFECT_SERVER_DATABASE_PORT", "5432")
        found[DATABASE_HOST] = ("postgresql", host, int(port) if port.isdecimal() else 5432)
    return found


def check_names(site: Site) -> Iterator[Finding]:
    """Look up the hosts that the settings name, on this machine and where flows run."""
    looked = 0
    for knob, (scheme, host, _) in outside(site).items():
        if _is_address(host) or host == "localhost" or _proxy(scheme, host):
            continue
        fix = f"correct {knob} in .env, or this machine's name service (/etc/resolv.conf)"
        if trouble := _unresolved(host):
            yield wrong(f"{host} ({knob}) does not resolve on this machine: {trouble}", fix)
        elif site.runs("worker") and knob not in {"PACKAGE_INDEX_URL", DATABASE_HOST}:
            done = site.inside("worker", "getent", "hosts", host)
            if done.code:
                yield wrong(
                    f"{host} ({knob}) resolves on this machine, and not in the container worker",
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


def _proxy(scheme: str, host: str) -> str:
    """Return the proxy by which this machine reaches a host; empty for none."""
    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all", "")
    return found if found and not proxy_bypass(host) else ""


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
    """Compare this machine's proxies with those of containers, and what is to be reached without one."""
    shell = {name: value for name, value in getproxies().items() if name in {"http", "https", "all"}}
    containers = docker_proxies()
    given = {name.removesuffix("Proxy") for name, value in containers.items() if name != "noProxy" and value}
    uses_containers = site.engine.is_usable and not site.is_process_form
    missing = sorted(set(shell) - given - {"all"})
    far = [
        knob
        for knob, (scheme, host, _) in outside(site).items()
        if scheme in missing and not _is_near(host) and not _goes_direct(host)
    ]
    if uses_containers and missing:
        text = f"this shell has {', '.join(f'{one}_proxy' for one in missing)}, and containers get none"
        fix = 'set "proxies": {"default": {"httpsProxy": ...}} in ~/.docker/config.json; then `make up`'
        # With a worker that runs, its own way to git and to Yeedu says more: see `git`, `yeedu`.
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
    """Look whether the platform's own services are reached without the proxy that the worker has."""
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
    """Whether NO_PROXY has a host, or a network that its address is in."""
    if proxy_bypass(host):
        return True
    for one in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(","):
        with suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(one.strip(), strict=False):
                return True
    return False


def _is_near(host: str) -> bool:
    return "." not in host or host.startswith("127.") or host.endswith(".localhost")


def check_certificates(site: Site) -> Iterator[Finding]:
    """Look whether the certificates of others are trusted, and when they end; and when the own CA's do."""
    context = ssl.create_default_context()
    try:
        own = site.knobs.ca_file()
        if own and own.is_file() and own.stat().st_size:
            context.load_verify_locations(own)
            yield from _own_authority(own)
    except (OSError, ssl.SSLError) as error:
        yield wrong(f"CA_CERT_FILE cannot be used: {error}", "name a file of certificates in PEM form")
    unchecked = " " if _is_on(site, "YEEDU_VERIFY_SSL") else "YEEDU_"
    seen: set[tuple[str, int]] = set()
    for knob, (scheme, host, port) in outside(site).items():
        if scheme not in _PORTS or (host, port) in seen or knob == "WAREHOUSE_URL":
            continue
        if knob == DATABASE_HOST and not _is_on(site, DATABASE_TLS):
            continue
        seen.add((host, port))
        if knob.startswith(unchecked):
            yield note(
                f"the certificate of {host} is not checked", "YEEDU_VERIFY_SSL=true, with CA_CERT_FILE"
            )
        elif _proxy(scheme, host):
            yield note(f"the certificate of {host} ({knob}) was not looked at: a proxy is between")
        else:
            yield certificate_of(knob, scheme, host, port, context)


def _own_authority(file: Path) -> Iterator[Finding]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(file)
    found = [
        _judged(
            f"a certificate in CA_CERT_FILE ({_name(one)})",
            one,
            "ask your company for a new one, or remove it",
        )
        for one in context.get_ca_certs()
    ]
    all_ended = all(one.level is Level.WRONG for one in found)
    for one in found:  # a bundle of many authorities has old ones beside those that took their places
        yield one if all_ended or one.level is not Level.WRONG else note(one.text, one.fix)


def _is_on(site: Site, knob: str) -> bool:
    """Tell what a setting that is on by default means, as the services read it."""
    return site.knobs.get(knob, "true").lower() in {"1", "true", "yes", "on"}


def certificate_of(knob: str, scheme: str, host: str, port: int, context: ssl.SSLContext) -> Finding:
    """Judge the certificate that a server shows."""
    what = f"{host}:{port} ({knob})"
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as plain:
            if scheme == "postgresql":
                plain.sendall(struct.pack("!ii", 8, 80877103))  # SSLRequest of Postgres' protocol
                if plain.recv(1) != b"S":
                    return wrong(
                        f"{what} takes no TLS", "switch `ssl` on there, or set ..._TLS_ENABLED=false"
                    )
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                shown = cast("dict[str, Any]", encrypted.getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        return wrong(
            f"the certificate of {what} is not trusted: {error.verify_message}",
            "let its owner renew it, or name its CA's file in CA_CERT_FILE",
        )
    except (OSError, UnicodeError) as error:
        return wrong(
            f"{what} cannot be reached: {getattr(error, 'strerror', None) or error}",
            f"correct {knob} in .env",
        )
    return _judged(f"the certificate of {what}", shown, "let its owner renew it")


def _judged(what: str, certificate: dict[str, Any], fix: str) -> Finding:
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    left = end - datetime.now(UTC)
    if left < timedelta(0):
        return wrong(f"{what} ended {age_of(-left)} ago", fix)
    if left < _SOON:
        return note(f"{what} ends in {age_of(left)}", fix)
    return ok(f"{what} is good for {age_of(left)}")


def _name(certificate: Any) -> str:
    names = {key: value for part in certificate.get("subject", ()) for key, value in part}
    return str(names.get("commonName") or names.get("organizationName") or "no name")


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
            "the TLS certificates of git, Yeedu, another server, a database of your own, and `CA_CERT_FILE`",
            "one is not trusted, or has ended; of `CA_CERT_FILE`, all have",
            "renew it; `CA_CERT_FILE`",
            check_certificates,
        ),
    ),
)
