"""The gates of an upgrade: each prints a line, or aborts the upgrade before it changes anything."""

import dataclasses
import shutil
from collections import defaultdict
from typing import Any
from urllib.parse import quote

from local.api import ApiUnavailableError, PrefectApi
from local.console import Console
from local.containers.engine import PROJECT
from local.errors import CommandError
from local.release.version import is_near, numbers
from local.settings.own_database import HOST
from local.settings.platform import ROOT, Settings
from local.settings.scale import OVERLAY, compose_files, runs_scaled
from local.upgrade.forms import Form, Need
from local.upgrade.git import Git
from local.upgrade.releases import Release, listed, stops_between

_OWN_WORKERS = {("image-pool", "image-worker")}
_DEPLOYER_LOCK = "yeedu_deployer_lock"
_SPARE_BYTES = 200_000_000


def check_is_upgradable(settings: Settings) -> None:
    """Refuse a platform that a rollback could not restore.

    Raises:
        CommandError: Its server or database is elsewhere, it has several servers, or PLATFORM_VERSION is set.
    """
    if settings.other_server:
        raise CommandError(
            f"runs, deployments and blocks are on {settings.other_server}, which is upgraded there; "
            "here `git merge` the release, then `make up`"
        )
    if host := settings.get(HOST):
        raise CommandError(
            f"Prefect's data is in your Postgres at {host}; back it up there, `git merge` the release, then "
            "`make up`"
        )
    asks = OVERLAY in " ".join(compose_files(settings.values, ROOT)).replace("\\", "/")
    if asks or runs_scaled(settings.get("COMPOSE_PROJECT_NAME", PROJECT)):
        raise CommandError(
            "an upgrade tries the release with one server; `make up SCALE=0` goes back to that, and "
            "`make up SCALE=1` to several again after the upgrade"
        )
    if version := settings.get("PLATFORM_VERSION"):
        raise CommandError(
            f"PLATFORM_VERSION={version} is set, so that both releases' images would have one name; remove "
            "it from .env"
        )


def check_version(old: str, new: str) -> None:
    """Refuse to go back to an older release.

    Raises:
        CommandError: The release is older than the current one.
    """
    if numbers(new) < numbers(old):
        raise CommandError(
            f"{new} is older than {old}, which runs here, and cannot read its data: restore a backup that "
            f"{new} made instead, with make restore in a checkout of v{new}"
        )


def check_health(form: Form, console: Console) -> None:
    """Refuse to change an unhealthy platform: nobody could tell what the upgrade broke.

    Raises:
        CommandError: Something is not healthy.
    """
    if unwell := form.unwell():
        raise CommandError(
            f"not everything is healthy: {', '.join(unwell)}; `make status` says more, `make up` starts it"
        )
    console.step("gate         health: every service is healthy")


def check_deployer(form: Form, api: PrefectApi, console: Console) -> None:
    """Refuse while a deployer registers deployments, on this machine or another one.

    Raises:
        CommandError: A deployer is running.
    """
    body = {"variables": {"name": {"like_": f"{_DEPLOYER_LOCK}%"}}}
    if form.is_deploying() or _asked(api, "/variables/filter", body):
        raise CommandError("a deployer is running; try again when it has ended")
    console.step("gate         deployer: none is running")


def check_files(git: Git, release: Release, console: Console) -> None:
    """Refuse to overwrite changes that are not committed.

    Raises:
        CommandError: There are some; the message names the files.
    """
    differ = git.changed("HEAD", release.commit)
    if mine := differ & git.local_changes():
        raise CommandError(
            f"{listed(mine)}: changed here, and by {release.version} too; commit or undo your changes first"
        )
    if taken := git.in_the_way(differ):
        raise CommandError(
            f"{listed(taken)}: {release.version} brings files of that name, and what is there is not "
            "committed here (git may ignore it); move it away first"
        )
    console.step(f"gate         files: {len(differ)} change, none of which is changed here")


def check_is_at(git: Git, commit: str) -> None:
    """Refuse a checkout whose commit has changed since the upgrade began.

    Raises:
        CommandError: It is at another commit.
    """
    if (head := git.commit_of("HEAD")) != commit:
        raise CommandError(
            f"the checkout went from commit {commit[:12]} to {head[:12]} since the upgrade began; try again"
        )


def check_stops(release: Release, old: str, console: Console) -> None:
    """Refuse to skip a release that changes the data of older ones once.

    Raises:
        CommandError: One would be skipped; the message names the release to go to first.
    """
    if stops := stops_between(release.folder, old, release.version):
        version, reason = stops[0]
        raise CommandError(
            f"{version} lies between {old} and {release.version} and may not be skipped: {reason}; first "
            f"make upgrade VERSION={version}"
        )
    console.step(f"gate         version: {old} to {release.version}, which skips no needed release")


def check_disk_space(form: Form, console: Console) -> None:
    """Refuse an upgrade for which a disk has too little space.

    Raises:
        CommandError: A disk is too full; the message names the folder and the space needed.
    """
    by_disk: defaultdict[int, list[Need]] = defaultdict(list)
    for need in form.needs():
        there = next(one for one in (need.folder, *need.folder.parents) if one.exists())
        by_disk[there.stat().st_dev].append(dataclasses.replace(need, folder=there))
    for needs in by_disk.values():
        wanted = sum(need.size_bytes for need in needs) + _SPARE_BYTES
        place = needs[0].folder
        free = shutil.disk_usage(place).free
        if free < wanted:
            what = ", ".join(dict.fromkeys(need.purpose for need in needs))
            raise CommandError(
                f"the disk of {place} has {free / 1e6:,.0f} MB free, and may have to take "
                f"{wanted / 1e6:,.0f} MB ({what}); free some there"
            )
    console.step("gate         disk: enough space for backup, trial and switch")


def check_workers(api: PrefectApi, settings: Settings, old: str, console: Console) -> list[str]:
    """Refuse while an attached worker is too far behind; return the attached workers that are online.

    Raises:
        CommandError: One is too far behind; the message names it, and the command that updates it.
    """
    known = {
        (one["value"]["pool"], one["value"]["worker"]): str(one["value"]["platform"])
        for one in _asked(api, "/variables/filter", {"variables": {"tags": {"all_": ["attached-worker"]}}})
    }
    own = {*_OWN_WORKERS, ("yeedu-pool", settings.get("WORKER_NAME", "linux-worker"))}
    found: list[str] = []
    for pool in _asked(api, "/work_pools/filter", {}):
        for worker in _asked(api, f"/work_pools/{quote(pool['name'], safe='')}/workers/filter", {}):
            key = (str(pool["name"]), str(worker["name"]))
            if key in own or worker["status"] != "ONLINE":
                continue
            version = known.get(key, "")
            if version and not is_near(version, old):
                raise CommandError(
                    f"the worker {key[1]} of {key[0]} is of {version}, more than a patch release behind "
                    f"{old}; on its machine: git fetch --tags && git checkout v{old} && "
                    "worker/attach.sh install"
                )
            found.append(key[1])
    told = f"{', '.join(found)} may work for {old}" if found else "none is attached"
    console.step(f"gate         workers: {told}")
    return found


def _asked(api: PrefectApi, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        return api.everything(path, body)
    except ApiUnavailableError as error:
        raise CommandError(f"the server does not answer: {error}") from None
