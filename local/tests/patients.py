"""Platforms with something wrong, for the tests of `local.doctor`: real files, real sockets, real servers."""

import shutil
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLContext
from typing import Any

from local.containers.engine import Engine
from local.doctor.lenient_settings import settings_of
from local.doctor.model import Finding, Level
from local.doctor.registry import THEMES
from local.doctor.site import Site
from local.settings.platform import ROOT, Settings

JSON = dict[str, Any]
NO_ENGINE = Engine("no Docker engine answers (docker is not installed)", is_usable=False)
AN_ENGINE = Engine("Docker 28.0.1 with Compose 2.33.1", is_usable=True)
CHECKS = {check.name: check for theme in THEMES for check in theme.checks}


def checkout(folder: Path, env: str | None = None, mode: int = 0o600) -> Path:
    """Make a folder with what the checks read of a checkout, and a ``.env``."""
    for name in (".env.example", "docker-compose.yaml", "requirements/server.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    if env is not None:
        (folder / ".env").write_bytes(env.encode())
        (folder / ".env").chmod(mode)
    return folder


def patient(
    root: Path,
    values: Mapping[str, str] | None = None,
    *,
    engine: Engine = NO_ENGINE,
    items: Sequence[JSON] = (),
    is_process_form: bool = False,
) -> Site:
    """Return a platform with these settings, or those of its ``.env``."""
    settings, trouble = (Settings(values), "") if values is not None else settings_of(root)
    return Site(
        settings,
        engine,
        items,
        is_process_form=is_process_form,
        root=root,
        state=root / ".local",
        trouble=trouble,
    )


def findings(site: Site, check: str) -> list[Finding]:
    return list(CHECKS[check].run(site))


def wrongs(site: Site, check: str) -> list[str]:
    """Return what a check finds wrong, each with its fix; every such finding has one."""
    found = [one for one in findings(site, check) if one.level is Level.WRONG]
    assert all(one.fix for one in found)
    return [f"{one.text} -> {one.fix}" for one in found]


def notes(site: Site, check: str) -> list[str]:
    return [f"{one.text} -> {one.fix}" for one in findings(site, check) if one.level is Level.NOTE]


def assert_told(found: Iterable[str], *words: str) -> None:
    """Fail unless there is one finding, with all the words."""
    listed = list(found)
    assert len(listed) == 1, listed
    assert [word for word in words if word not in listed[0]] == [], listed


def container(service: str, status: str = "running", health: str = "healthy", **state: Any) -> JSON:
    """Return what an engine tells of a container, as `docker inspect` has it."""
    log = [{"ExitCode": 1, "Output": state.pop("output")}] if "output" in state else []
    return {
        "Id": f"id-{service}",
        "Name": f"/x-{service}-1",
        "Config": {"Labels": {"com.docker.compose.service": service}},
        "State": {
            "Status": status,
            "ExitCode": state.pop("code", 0),
            "StartedAt": datetime.now(UTC).isoformat(),
            "Health": {"Status": health, "Log": log} if health else None,
            **state,
        },
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        "NetworkSettings": {"Ports": {}},
        "RestartCount": 0,
    }


@contextmanager
def serving(page: type[BaseHTTPRequestHandler], tls: SSLContext | None = None) -> Generator[int]:
    """Serve pages, and yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
