"""The checks that run before a worker is attached; each makes one finding, with what to do."""

import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from attach.errors import AttachError
from attach.git import check_repository
from attach.paths import python_of
from attach.platform_version import is_near, platform_version
from attach.requirement_locks import LockError, further_locks, shown
from attach.server import NOT_THERE, Answer, Server, UnreachableError, ask
from attach.settings import Settings
from yeedu_worker.git.addresses import without_login

LARGEST_SKEW_SECONDS = 10.0
OK, NOTE, WRONG = "ok", "note", "WRONG"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: The check's name.
        status: ``ok``; ``note`` for what does not stop the worker; ``WRONG`` for what does.
        text: What was found and, unless it is ok, what to do.
    """

    check: str
    status: str
    text: str


def check_all(
    settings: Settings, server: Server, lock: Path, environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield what each check finds, one after the other.

    Args:
        settings: How the worker will be attached.
        server: Its Prefect server.
        lock: The hashed requirements that its environment is made from.
        environment: The worker's environment, for git.
    """
    yield check_python(make_environment=not settings.environment)
    if not settings.environment:
        yield check_packages(lock.parents[1], settings.extras, settings.config_dir)
    yield check_git()
    reached = check_server(server)
    yield reached
    if reached.status == OK:
        version = server.ask("GET", "/admin/version")
        login = check_login(version, server)
        yield login
        if login.status != WRONG:
            yield check_version(version, own_version(settings, lock))
            yield check_platform(server.platform(), platform_version(lock.parents[1]), lock.parents[1])
            pool = check_pool(server, settings)
            yield pool
            if settings.queues and pool.status != WRONG:
                yield check_queues(server, settings)
        yield check_clock(version.date, datetime.now(UTC))
    yield check_flows(settings, environment)
    yield check_yeedu(settings.yeedu_url)


def check_python(*, make_environment: bool) -> Finding:
    """Check the Python that runs this program, from which the worker's environment is made."""
    version = f"Python {platform.python_version()}"
    if make_environment and not (find_spec("venv") and find_spec("ensurepip")):
        return Finding(
            "python",
            WRONG,
            f"{version} has no venv module; install it, for example: apt-get install python3-venv",
        )
    return Finding("python", OK, f"{version}, {sys.executable}")


def check_packages(checkout: Path, extras: str, config_dir: str = "") -> Finding:
    """Check that the locks for the worker's environment exist."""
    try:
        further = further_locks(checkout, extras, Path(config_dir) if config_dir else None)
    except LockError as error:
        return Finding("packages", WRONG, str(error))
    names = ["requirements/worker.txt", *(shown(lock, checkout) for lock in further)]
    return Finding("packages", OK, " and ".join(names))


def check_git() -> Finding:
    """Check that git runs: flow runs clone with it."""
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return Finding("git", WRONG, "git does not run; install it, and see that it is on PATH")
    return Finding("git", OK, done.stdout.strip())


def check_server(server: Server) -> Finding:
    """Check that a Prefect server answers at the address and has its database."""
    try:
        answer = server.readiness()
    except UnreachableError as error:
        return Finding(
            "server", WRONG, f"{server.url} cannot be reached: {error}; check --server, and firewalls between"
        )
    if answer.status == 200 and isinstance(answer.json(), dict | list):
        return Finding("server", OK, f"{server.url} is ready")
    if answer.status == 401:
        return Finding("server", WRONG, refusal(server))
    if answer.status == 503:
        return Finding(
            "server",
            WRONG,
            f"{server.url} is not ready; look for its database in the server's log, then try again",
        )
    if answer.status == 403 and (told := answer.sentence()):  # the platform's check of host names, or a proxy
        return Finding("server", WRONG, f"{server.url} answered 403: {told}")
    return Finding(
        "server",
        WRONG,
        f"{server.url}/ready answered {answer.status}, which is no Prefect server's answer; check --server",
    )


def check_login(version: Answer, server: Server) -> Finding:
    """Check the login by the answer to a request that needs one."""
    if version.status in {401, 403}:
        return Finding("login", WRONG, refusal(server))
    return Finding("login", OK, "accepted" if server.has_login or server.has_key else "none needed")


def refusal(server: Server) -> str:
    """Return what is wrong with the login or the key, or that one is missing, and what to do."""
    if server.has_key:
        return f"{server.url} refuses this key; put its PREFECT_API_KEY into a file and give --api-key-file"
    what = "refuses this login" if server.has_login else "asks for a login"
    return (
        f"{server.url} {what}; put its PREFECT_API_AUTH_STRING into a file and give --auth-string-file, "
        "or its PREFECT_API_KEY and --api-key-file"
    )


def own_version(settings: Settings, lock: Path) -> str:
    """Return the version of Prefect that the worker has, or would get; empty if unknown."""
    if not settings.environment:
        try:
            found = re.search(r"(?m)^prefect==([^\s;\\]+)", lock.read_text(encoding="utf-8"))
        except OSError:
            return ""
        return found.group(1) if found else ""
    program = "from importlib.metadata import version; print(version('prefect'))"
    try:
        done = subprocess.run(
            [str(python_of(Path(settings.environment))), "-c", program],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip()


def check_version(version: Answer, own: str) -> Finding:
    """Check that worker and server run the same version of Prefect."""
    servers = version.json()
    if not own:
        return Finding(
            "version",
            WRONG,
            "Prefect is not in the folder of --environment; give another one, or none",
        )
    if version.status in NOT_THERE:
        return Finding("version", OK, f"Prefect {own}; the server tells none, as Prefect Cloud")
    if servers == own:
        return Finding("version", OK, f"Prefect {own}, as the server")
    return Finding(
        "version",
        WRONG,
        f"the server has Prefect {servers} and this worker {own}; "
        "check out the release of this repository that the server runs",
    )


def check_platform(servers: str, own: str, checkout: Path) -> Finding:
    """Check that this checkout is at the server's release of the platform, or one patch release behind."""
    if not servers:
        return Finding("platform", NOTE, f"{own} here; the server tells none")
    if servers == own:
        return Finding("platform", OK, f"{own}, as the server")
    command = f"git -C {checkout} fetch --tags && git -C {checkout} checkout v{servers}"
    text = f"the server is of release {servers} and this checkout of {own}; `{command}`, then `install` again"
    return Finding("platform", NOTE if is_near(own, servers) else WRONG, text)


def check_pool(server: Server, settings: Settings) -> Finding:
    """Check that the work pool exists and runs its flows as processes."""
    answer = server.pool(settings.pool)
    described = answer.json()
    if answer.status == 404:
        names = ", ".join(server.pool_names()) or "none"
        return Finding(
            "pool",
            WRONG,
            f"the server has no work pool {settings.pool!r}; give --pool one of: {names}; "
            "or add it to deployer/work-pools.yaml",
        )
    if answer.status != 200 or not isinstance(described, dict):
        return Finding("pool", WRONG, f"{server.url} answered {answer.status} for {settings.pool!r}")
    if described["type"] != "process":
        return Finding(
            "pool",
            WRONG,
            f"{settings.pool!r} is of type {described['type']}, not process; give another --pool",
        )
    if described["is_paused"]:
        return Finding(
            "pool", NOTE, f"{settings.pool!r} is paused: nothing runs until you resume it in the UI"
        )
    return Finding("pool", OK, f"{settings.pool!r}, of type process")


def check_queues(server: Server, settings: Settings) -> Finding:
    """Check which of the worker's queues the pool has; `run` and `install` create the missing ones."""
    names = server.queue_names(settings.pool)
    missing = [name for name in settings.queues if name not in names]
    if missing:
        new, old = ", ".join(missing), ", ".join(names)
        text = f"{settings.pool!r} gets the new queue {new}: it has {old}; is that the one you mean?"
        return Finding("queues", NOTE, text)
    return Finding("queues", OK, f"{', '.join(settings.queues)} of {settings.pool!r}, and no other")


def check_clock(servers: datetime | None, own: datetime) -> Finding:
    """Compare this machine's clock with the server's, which is known only to the second."""
    if servers is None:
        return Finding("clock", NOTE, "the server did not say its time")
    skew = (own - servers).total_seconds()
    if abs(skew) <= LARGEST_SKEW_SECONDS:
        return Finding("clock", OK, "agrees with the server's")
    way = "ahead of" if skew > 0 else "behind"
    return Finding(
        "clock",
        WRONG,
        f"this machine is {abs(skew):.0f} s {way} the server; synchronize both by NTP",
    )


def check_flows(settings: Settings, environment: Mapping[str, str]) -> Finding:
    """Check that git can read the flows' repository at the address that runs will use."""
    if not settings.flows_git_url:
        return Finding(
            "flows", WRONG, "give --flows-git-url the flows' repository as this machine reaches it"
        )
    problem = check_repository(settings.flows_git_url, settings.flows_git_ref, environment)
    if problem:
        return Finding("flows", WRONG, problem)
    revision = f", {settings.flows_git_ref}" if settings.flows_git_ref else ""
    return Finding("flows", OK, f"{without_login(settings.flows_git_url)}{revision}")


def check_yeedu(url: str, asked: Callable[[str, str], Answer] = ask) -> Finding:
    """Check that Yeedu answers at its address, if one is given."""
    if not url:
        return Finding("yeedu", NOTE, "not checked; give --yeedu-url if its flows run Yeedu jobs")
    health = f"{url.rstrip('/').removesuffix('/healthCheck')}/healthCheck"
    shown = without_login(health)
    if not health.startswith(("http://", "https://")):
        return Finding("yeedu", WRONG, f"--yeedu-url {shown!r} does not begin with http:// or https://")
    try:
        answer = asked("GET", health)
    except AttachError as error:
        return Finding("yeedu", WRONG, f"{shown} cannot be reached: {error}; check --yeedu-url")
    if answer.status == 200:
        return Finding("yeedu", OK, f"{shown} answers")
    return Finding(
        "yeedu", WRONG, f"{shown} answered {answer.status}; give --yeedu-url the REST API's host and port"
    )
