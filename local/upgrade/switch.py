"""The switch: queues paused, runs handed over, the database copied, the files changed, everything started.

Nothing but one run, which shows that it works, is run by the new release before that run has Completed: what
is due waits in queues that are paused. So whatever fails, the rollback loses and doubles nothing.
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
from local.upgrade.retries import GoneError, post, with_retries
from local.upgrade.smoke import QUEUE, forget_queue, make_queue, smoke
from local.upgrade.stages import run_stage


def switch(form: Form, git: Git, journal: Journal, settings: Settings, console: Console) -> None:
    """Let the checkout be the new release and the platform run it.

    Raises:
        CommandError: It does not; the rollback is up to the caller.
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
    _check_is_unchanged(git, journal, console)  # to stop a worker takes its time
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
    """Refuse a checkout in which somebody works meanwhile; raises as the gates do."""
    preflight.check_is_at(git, journal.old_commit)
    preflight.check_files(git, Release(journal.new, RELEASE, journal.new_commit), console)


def finish(form: Form, journal: Journal, settings: Settings, console: Console, *, starts: bool) -> None:
    """End an upgrade that has succeeded: what was due runs now, and the copy goes.

    Args:
        form: Of the platform.
        journal: Of the upgrade.
        settings: The platform's.
        console: Where progress is shown.
        starts: Whether the platform may be down, or its worker polls the smoke run's queue too.

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
    """Return the settings that a start of the platform takes for this upgrade alone.

    Args:
        settings: The platform's.
        journal: Of the upgrade.
        tries: Whether a worker that polls some queues alone is to poll the smoke run's too.
    """
    found = profile_variables(settings, journal.profiles)
    if tries and (own := settings.get("WORKER_QUEUES")):
        found["WORKER_QUEUES"] = f"{QUEUE},{own}"
    return found


def set_paused(api: PrefectApi, queues: Sequence[str], *, is_paused: bool) -> None:
    """Pause queues, or let them go on.

    Raises:
        CommandError: The server does not do so.
    """
    for queue in queues:
        with contextlib.suppress(GoneError):
            with_retries(lambda path=f"/work_queues/{queue}": api.patch(path, {"is_paused": is_paused}))


def _queues(api: PrefectApi) -> list[dict[str, Any]]:
    names = [quote(pool["name"], safe="") for pool in post(api, "/work_pools/filter", {})]
    return [queue for name in names for queue in post(api, f"/work_pools/{name}/queues/filter", {})]
