"""Checks the machine: disk space, memory, processors, clocks, and who holds the ports."""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import build_opener

from local.containers.engine import containers_publishing
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import ANSWER_SECONDS, Site
from local.errors import CommandError
from local.loopback import DIRECT
from local.ports import holder, is_free
from local.processes.supervisor import Supervisor

# Postgres stops at a full disk, and a build takes some gigabytes.
FULL_BYTES, LITTLE_BYTES = 1 << 30, 5 << 30
FEW_INODES = 10_000
MIN_MEMORY_BYTES, LITTLE_MEMORY_BYTES = 512 << 20, 1 << 30
NEEDED_MEMORY_BYTES = 4 << 30
NEEDED_PROCESSORS = 2
LARGEST_SKEW_SECONDS = 10.0  # as in worker/attach/checks.py
_FOLDERS_INSIDE = (("postgres", "/var/lib/postgresql/data"), ("worker", "/tmp"))  # noqa: S108 - a container's


def check_disk(site: Site) -> Iterator[Finding]:
    """Check the free space of the checkout, Docker's data and volumes, once per file system."""
    folders = {"the checkout": site.root, "the temporary folder": Path(os.environ.get("TMPDIR") or "/tmp")}  # noqa: S108
    root = str(site.info().get("DockerRootDir") or "")
    if root and Path(root).exists():  # with Docker Desktop it is on another machine
        folders["docker's data"] = Path(root)
    seen: dict[int, str] = {}
    for name, folder in folders.items():
        try:
            device, free = folder.stat().st_dev, shutil.disk_usage(folder).free
            inodes = os.statvfs(folder).f_favail if hasattr(os, "statvfs") else FEW_INODES
            total = os.statvfs(folder).f_files if hasattr(os, "statvfs") else 0
        except OSError:
            continue
        if device not in seen:
            seen[device] = name
            yield _judged(f"{name} ({folder})", free)
            if total and inodes < FEW_INODES:  # btrfs and some others report no total
                yield wrong(
                    f"{name} ({folder}): {inodes} files can be made", "delete files that nobody needs"
                )
    for service, folder in _FOLDERS_INSIDE:
        if site.runs(service):
            told = site.inside(service, "df", "-Pk", folder).output.splitlines()[1:]
            if told and told[0].split()[3].isdecimal():
                yield _judged(
                    f"{folder} of {service}", 1024 * int(told[0].split()[3]), is_small=service == "worker"
                )


def _judged(where: str, free: int, *, is_small: bool = False) -> Finding:
    full, little = (FULL_BYTES // 16, FULL_BYTES // 4) if is_small else (FULL_BYTES, LITTLE_BYTES)
    text = f"{where}: {free / 1e9:.1f} GB free"
    setting = (
        "; or give WORKER_TMP_SIZE in .env more" if is_small else "; `docker system df` shows what takes room"
    )
    if free < full:
        return wrong(text, f"make room now{setting}")
    return note(text, f"make room{setting}") if free < little else ok(text)


def check_memory(site: Site) -> Iterator[Finding]:
    """Check the total and the available memory of this machine, or of the engine's."""
    numbers = _meminfo()
    total, available = numbers.get("MemTotal", 0), numbers.get("MemAvailable", 0)
    total = min(filter(None, (total, int(site.info().get("MemTotal") or 0))), default=0)
    if not total:
        yield note("this system does not say how much memory there is")
        return
    left = f", {available / 1e9:.1f} GB available" if available else ""
    text = f"{total / 1e9:.1f} GB{left}"
    if available and available < MIN_MEMORY_BYTES:
        yield wrong(text, "end what else takes memory, or lower WORKER_MEMORY and WORKER_LIMIT in .env")
    elif total < NEEDED_MEMORY_BYTES * 0.95 or (available and available < LITTLE_MEMORY_BYTES):
        yield note(
            f"{text}; the platform is made for {NEEDED_MEMORY_BYTES >> 30} GB", "lower WORKER_LIMIT in .env"
        )
    else:
        yield ok(text)


def _meminfo(file: Path = Path("/proc/meminfo")) -> dict[str, int]:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {name: 1024 * int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def check_processors(site: Site) -> Iterator[Finding]:
    """Count the processors that flow runs, server and database share."""
    count = int(site.info().get("NCPU") or os.cpu_count() or 1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"{count} processors, load {load:.1f}"
    if count < NEEDED_PROCESSORS:
        yield note(
            f"{text}; the platform is made for {NEEDED_PROCESSORS}",
            "expect slow starts, or lower WORKER_LIMIT",
        )
    elif load > 4 * count:
        yield note(f"{text}: everything waits for a processor", "look with `top` at what takes them")
    else:
        yield ok(text)


def check_clock(site: Site) -> Iterator[Finding]:
    """Compare this machine's clock with those of the server's answers and of containers."""
    try:
        opener = build_opener() if site.settings.other_server else DIRECT
        with opener.open(f"{site.settings.api_url}/health", timeout=ANSWER_SECONDS) as answer:
            date = answer.headers.get("Date")
    except HTTPError as error:
        date = error.headers.get("Date")
        error.close()
    except (OSError, ValueError, CommandError):
        date = None
    now = datetime.now(UTC)
    if date:
        yield skew_of("the server", (parsedate_to_datetime(date) - now).total_seconds())
    for service in ("postgres", "worker"):
        if site.runs(service):
            told = site.inside(service, "date", "+%s").output.strip()
            if told.isdecimal():
                yield skew_of(f"the container {service}", int(told) - time.time())
    if not date and not site.items:
        yield note("no server answers to compare this machine's clock with")


def skew_of(whose: str, seconds: float) -> Finding:
    """Judge a clock by how many seconds it is ahead of this machine's."""
    if abs(seconds) <= LARGEST_SKEW_SECONDS:
        return ok(f"the clock of {whose} agrees with this machine's")
    way = "ahead of" if seconds > 0 else "behind"
    fix = "synchronize both by NTP; with Docker Desktop, restart it: its machine was suspended"
    return wrong(f"the clock of {whose} is {abs(seconds):.0f} s {way} this machine's", fix)


def check_ports(site: Site) -> Iterator[Finding]:
    """Check who holds the ports that the platform publishes."""
    try:
        ports = [("YEEDU_MOCK_PORT", "yeedu-mock", "127.0.0.1", site.settings.mock_port)]
        if not site.settings.other_server:
            is_behind = site.settings.has_tls or any(one.service == "proxy" for one in site.containers)
            first = "proxy" if is_behind else "server"
            ports.insert(0, ("PREFECT_PORT", first, site.settings.bind_address, site.settings.prefect_port))
        if site.settings.has_tls:
            ports.insert(
                1, ("TLS_HTTP_PORT", "proxy", site.settings.bind_address, site.settings.tls_http_port)
            )
    except CommandError:
        return  # the check of the settings reports it
    held = {port: one.service for one in site.containers if one.status == "running" for port in one.ports}
    if site.is_process_form:
        supervisor = Supervisor(site.state)
        held = {one.port: one.name for one in supervisor.records() if supervisor.find(one.name)}
    for setting, service, address, port in ports:
        try:
            if held.get(port) == service:
                yield ok(f"{address}:{port} is the {service}'s")
            elif is_free(address, port, for_engine=not site.is_process_form):
                yield ok(f"{address}:{port} is free")
            else:
                yield _taken(site, setting, port)
        except CommandError as error:
            yield wrong(
                str(error), f"set {setting}, or PREFECT_BIND_ADDRESS, in .env to what this machine has"
            )


def _taken(site: Site, setting: str, port: int) -> Finding:
    names = containers_publishing(port) if site.engine.is_usable else []
    by = f"the container {names[0]}" if names else str(holder(port) or "another process, of another user")
    return wrong(f"port {port} is held by {by}", f"end that, or set {setting} in .env to a free port")


THEME = Theme(
    "machine",
    (
        Check(
            "disk",
            "free room of the checkout, the temporary folder, docker's data, the database's volume and the "
            "worker's /tmp",
            "less than 1.1 GB (in the worker's /tmp, 67 MB), or fewer than 10,000 files can be made",
            "make room; `docker system df`; `WORKER_TMP_SIZE`",
            check_disk,
        ),
        Check(
            "memory",
            "memory of this machine, or of the engine's",
            "less than 0.5 GB is available",
            "end something else; `WORKER_MEMORY`, `WORKER_LIMIT`",
            check_memory,
        ),
        Check("processors", "processors, and the load of the last minute", "never", "", check_processors),
        Check(
            "clock",
            "this machine's clock against the server's answers and the containers'",
            "they differ by more than 10 s",
            "a time server (NTP)",
            check_clock,
        ),
        Check(
            "ports",
            "who holds the ports that the platform publishes",
            "something else than the platform",
            "end it; `PREFECT_PORT`, `YEEDU_MOCK_PORT`",
            check_ports,
        ),
    ),
)
