"""Checks the Prefect server: whether it answers and schedules, and whether the reaper works."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError

from local.api import ApiUnavailableError
from local.backup.backups import prefect_version
from local.console import Console
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import ANSWER_SECONDS, JSON, Site, once
from local.loopback import DIRECT
from local.processes.process_mode import ProcessMode
from local.processes.supervisor import Supervisor

_PACKAGES = {
    "server": ("/opt/server", "server"),
    "worker": ("yeedu_worker", "worker/src/yeedu_worker"),
}
_DIGESTS = """
import hashlib, importlib.util, json, pathlib, sys
place = sys.argv[1]
if not place.startswith("/"):
    place = pathlib.Path(importlib.util.find_spec(place).origin).parent
files = sorted(pathlib.Path(place).rglob("*.py"))
digests = {f.relative_to(place).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
print(json.dumps(digests))
"""
_PAGE = """
import sys, urllib.error, urllib.request
try:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    print(opener.open(sys.argv[1], timeout=3).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
"""


def page(url: str) -> JSON | None:
    """Return the JSON object of a health page, whatever its HTTP status; None if there is none."""
    try:
        with DIRECT.open(url, timeout=ANSWER_SECONDS) as answer:
            found: Any = json.loads(answer.read(1 << 16))
    except HTTPError as error:
        with error:
            try:
                found = json.loads(error.read(1 << 16))
            except (ValueError, OSError):
                return None
    except (OSError, ValueError):
        return None
    return cast("JSON", found) if isinstance(found, dict) else None


@once
def health_page(site: Site) -> JSON | None:
    """Return what the platform's server reports about its own services; None if it reports nothing.

    Where several API servers run, a container of its own runs these services.
    """
    if site.runs("services"):
        return _page_inside(site, "services", "http://127.0.0.1:4200/api/health/services")
    return None if site.settings.other_server else page(f"{site.settings.api_url}/health/services")


@once
def rescue_page(site: Site) -> JSON | None:
    """Return what the service rescue reports about its passes; None if it does not run or reports nothing."""
    if site.runs("rescue"):
        return _page_inside(site, "rescue", "http://127.0.0.1:8082/")
    record = Supervisor(site.state).find("rescue") if site.is_process_form else None
    return page(f"http://127.0.0.1:{record.port}/") if record else None


def _page_inside(site: Site, service: str, url: str) -> JSON | None:
    try:
        return json.loads(site.inside(service, "python3", "-S", "-c", _PAGE, url).output)
    except ValueError:
        return None


def check_server(site: Site) -> Iterator[Finding]:
    """Check that the API answers a query that needs its database and a login."""
    if trouble := site.server():
        if site.form == "none" and not site.settings.other_server:
            yield note("the server does not run", "`make up` starts the platform")
        else:
            yield wrong(
                trouble, "`docker compose logs server`, or .local/logs/server.log, says why; then `make up`"
            )
        return
    yield ok(f"{site.settings.api_url} answers, and takes the login")


def check_server_services(site: Site) -> Iterator[Finding]:
    """Check what the server reports about its scheduler and similar services, and about dropped events."""
    told = health_page(site)
    if told is None:
        return
    message = str(told.get("message", ""))
    if message == "OK":
        yield ok("the server's own services do their work")
    else:
        yield wrong(
            message,
            "it is started anew by itself when that helps; `docker compose logs "
            f"{'services' if site.runs('services') else 'server'}` says more",
        )
    if dropped := told.get("events_dropped"):
        yield note(f"{dropped} events were dropped in a flood since its start", "let flows emit fewer events")


def check_patches(site: Site) -> Iterator[Finding]:
    """Show which patches of Prefect the server has left out because it does not know this version."""
    told = health_page(site)
    if told is None:
        return
    if line := str(told.get("patches_left_out") or ""):
        yield note(line, "check out a release that knows this Prefect; `make up`")
    else:
        yield ok("the server has left out no patch of Prefect")


def check_versions(site: Site) -> Iterator[Finding]:
    """Compare the server's Prefect, and the files in the containers, with this checkout."""
    own = prefect_version(site.root)
    if not site.server():
        try:
            theirs = str(site.api.get("/admin/version"))
        except ApiUnavailableError:
            theirs = ""  # Prefect Cloud reports none
        if theirs and theirs != own:
            yield wrong(
                f"the server has Prefect {theirs}, and this checkout is made for {own}",
                "`make up` brings the platform to this checkout; another server: check out its release",
            )
        elif theirs:
            yield ok(f"Prefect {theirs}, as this checkout")
    for service in _PACKAGES:
        if site.runs(service):
            yield from _image(site, service)
    if site.is_process_form and (changed := ProcessMode(site.settings, Console()).changed()):
        yield wrong(f"{', '.join(changed)} run from other files or settings than those of now", "`make up`")


def _image(site: Site, service: str) -> Iterator[Finding]:
    """Compare the Python files in a service's container with the checkout's."""
    place, folder = _PACKAGES[service]
    try:
        told = site.inside(service, "/opt/venv/bin/python", "-c", _DIGESTS, place)
        there: dict[str, str] = json.loads(told.output)
    except ValueError:
        return
    other = [name for name, digest in there.items() if _differs(_source(site.root, folder, name), digest)]
    if not place.startswith("/"):  # the server's folder has scripts that are not in its image
        other += [
            name
            for file in (site.root / folder).rglob("*.py")
            if (name := file.relative_to(site.root / folder).as_posix()) not in there
        ]
    text = f"the image of {service} is another than this checkout's ({', '.join(sorted(other)[:3])})"
    if not other:
        yield ok(f"the image of {service} is this checkout's")
    elif site.settings.get("IMAGE_POLICY") == "never":
        yield note(text, "load the images of this release; or IMAGE_POLICY=build, and `make up`")
    else:
        yield wrong(text, "`make up` builds what changed")


def _source(root: Path, folder: str, name: str) -> Path:
    """Return the checkout's counterpart of an image's file; the server's image has some of the worker's."""
    return root / ("worker/src" if name.startswith("yeedu_worker/") else folder) / name


def _differs(file: Path, digest: str) -> bool:
    try:
        content = file.read_bytes()
    except OSError:
        return True
    return digest not in {
        hashlib.sha256(content).hexdigest(),
        hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest(),
    }


def check_rescue(site: Site) -> Iterator[Finding]:
    """Check the service that ends runs whose process is gone."""
    if site.form == "none":
        return
    told = rescue_page(site)
    if told is None:
        yield wrong(
            "rescue does not report its status, so runs whose process is gone stay Running",
            "`docker compose logs rescue`, or .local/logs/rescue.log, says why; then `make up`",
        )
        return
    silent = float(told.get("last_answer_seconds_ago") or 0)
    troubles: list[str] = told.get("troubles") or []
    if troubles:
        yield wrong(f"rescue: {'; '.join(troubles[:3])}", "`docker compose logs rescue` says more")
    elif silent > 120:
        yield wrong(f"rescue has had no answer from the server for {silent:.0f} s", "see `server`")
    else:
        yield ok(f"its last pass was {silent:.0f} s ago")


THEME = Theme(
    "server",
    (
        Check(
            "server",
            "whether the API answers, has its database, and takes the login",
            "it does not, while the platform is up",
            "`docker compose logs server`, `make up`",
            check_server,
        ),
        Check(
            "server-services",
            "what the server says of its scheduler and the services beside it (`/api/health/services`)",
            "one stands still",
            "`docker compose logs server`",
            check_server_services,
        ),
        Check(
            "patches",
            "which patches of Prefect the server has left out, since it does not know its version",
            "never",
            "a release that knows this Prefect",
            check_patches,
        ),
        Check(
            "versions",
            "the server's Prefect, and the files in the images, against this checkout's",
            "they differ",
            "`make up`",
            check_versions,
        ),
        Check(
            "rescue",
            "the service that ends runs whose process is gone",
            "it does not answer, reports a failure, or has not reached the server for 2 min",
            "`docker compose logs rescue`",
            check_rescue,
        ),
    ),
)
