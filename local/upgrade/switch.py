"""The switch: queues paused, runs handed over, the database copied, the files changed, everything started.

Until one smoke run is Completed, the new release runs nothing else: what is due waits in paused queues. So
whatever fails, the rollback neither loses nor repeats a flow run.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from local.api import PrefectApi
from local.bundle.bundle import has_bundle
from local.console import Console
from local.containers.running import profile_variables
from local.settings.platform import ROOT, Settings
from local.upgrade import bundles, preflight, rollback_code
from local.upgrade import journal as journals
from local.upgrade.forms import Form
from local.upgrade.git import Git
from local.upgrade.journal import RELEASE, Journal, Phase
from local.upgrade.releases import Release
from local.upgrade.retries import GoneError, everything, with_retries
from local.upgrade.smoke import QUEUE, forget_queue, make_queue, smoke
from local.upgrade.stages import run_stage


def switch(form: Form, git: Git, journal: Journal, settings: Settings, console: Console) -> None:
    """Switch the checkout to the new release, and start the platform from it.

    Raises:
        CommandError: A step failed; the rollback is up to the caller.
    """
    api = PrefectApi.of(settings)
    form.keep_programs()
    form.copy.discard()
    rollback_code.keep()
    profiles = form.profiles()
    queues = [queue["id"] for queue in _queues(api) if not queue["is_paused"] and queue["name"] != QUEUE]
    _check_is_unchanged(git, journal, console)
    journal = journals.write(
        dataclasses.replace(
            journal,
            phase=Phase.SWITCHING,
            queues=tuple(queues),
            had_bundle=has_bundle(),
            profiles=profiles,
            has_files=False,
        )
    )
    set_paused(api, queues, is_paused=True)
    console.step(f"switch       {len(queues)} queues are paused: what is due waits for the new release")
    make_queue(api)
    form.stop()
    form.copy.make()
    console.step("switch       runs are handed over, and the database is copied as it is now")
    _check_is_unchanged(git, journal, console)  # stopping a worker may take a while
    journal = journals.write(dataclasses.replace(journal, has_files=True))
    git.put(journal.new_commit, journal.old_commit)
    bundles.take(journal.bundle)
    console.step(f"switch       the checkout's files are those of {journal.new}")
    journal = journals.write(dataclasses.replace(journal, has_begun=True))
    run_stage(ROOT, ("start", "--form", form.name), stage_variables(settings, journal, tries=True), console)
    console.step("switch       every service is healthy")
    smoke(api, journal.new, console)
    journal = journals.write(dataclasses.replace(journal, phase=Phase.SWITCHED))
    finish(form, journal, settings, console, starts=bool(settings.get("WORKER_QUEUES")))


def _check_is_unchanged(git: Git, journal: Journal, console: Console) -> None:
    """Refuse a checkout that somebody changes meanwhile; raise as the gates do."""
    preflight.check_is_at(git, journal.old_commit)
    preflight.check_files(git, Release(journal.new, RELEASE, journal.new_commit), console)


def finish(form: Form, journal: Journal, settings: Settings, console: Console, *, starts: bool) -> None:
    """Finish an upgrade that has succeeded: let runs that are due start, and delete the copy.

    Args:
        form: The form of the platform.
        journal: The journal of the upgrade.
        settings: The platform's settings.
        console: Where progress is shown.
        starts: Whether to start the platform: it may be down, or its worker polls the smoke run's queue.

    Raises:
        CommandError: The platform does not start, or the server does not answer.
    """
    if starts:
        run_stage(ROOT, ("start", "--form", form.name), stage_variables(settings, journal), console)
    api = PrefectApi.of(settings)
    forget_queue(api)
    set_paused(api, journal.queues, is_paused=False)
    form.copy.discard()


def stage_variables(settings: Settings, journal: Journal, *, tries: bool = False) -> dict[str, str]:
    """Return the settings with which the platform starts only for this upgrade.

    Args:
        settings: The platform's settings.
        journal: The journal of the upgrade.
        tries: Whether a worker that polls only some queues also polls the smoke run's.
    """
    found = profile_variables(settings, journal.profiles)
    if tries and (own := settings.get("WORKER_QUEUES")):
        found["WORKER_QUEUES"] = f"{QUEUE},{own}"
    return found


def set_paused(api: PrefectApi, queues: Sequence[str], *, is_paused: bool) -> None:
    """Pause or resume queues.

    Raises:
        CommandError: The server does not answer.
    """
    for queue in queues:
        with contextlib.suppress(GoneError):
            with_retries(lambda path=f"/work_queues/{queue}": api.patch(path, {"is_paused": is_paused}))


def _queues(api: PrefectApi) -> list[dict[str, Any]]:
    names = [quote(pool["name"], safe="") for pool in everything(api, "/work_pools/filter")]
    return [queue for name in names for queue in everything(api, f"/work_pools/{name}/queues/filter")]
