"""The steps of an upgrade before the switch: the gates, a backup, and a trial of the new release."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from local.api import PrefectApi
from local.backup.restore import opened
from local.console import Console
from local.errors import CommandError
from local.release.version import platform_version
from local.settings.platform import ROOT, Settings
from local.upgrade import bundles, preflight
from local.upgrade import journal as journals
from local.upgrade.forms import Form
from local.upgrade.git import Git
from local.upgrade.journal import FOLDER, RELEASE, Journal
from local.upgrade.overlays import own_files
from local.upgrade.releases import Release, clone
from local.upgrade.stages import run_stage

_PATHS = ("CONFIG_DIR",)  # and each ..._FILE, except those that are relative to the checkout
_OF_THE_CHECKOUT = ("PREFECT_FILE", "COMPOSE_FILE")
_TROUBLE = re.compile(r"(?m)^(?:error: .*|deployment: (?P<name>.+?): .*?(?P<why>does not import.*))$")


def prepare(form: Form, git: Git, journal: Journal, settings: Settings, console: Console) -> Journal:
    """Do everything that leaves the running platform untouched, and return the journal with the results.

    Raises:
        CommandError: A gate refuses, or the trial failed.
    """
    api = PrefectApi.of(settings)
    preflight.check_health(form, console)
    preflight.check_deployer(form, api, console)
    release = clone(git, journal.new, RELEASE)
    preflight.check_stops(release, journal.old, console)
    preflight.check_files(git, release, console)
    workers = preflight.check_workers(api, settings, journal.old, console)
    preflight.check_disk_space(form, console)
    backup = ROOT / "backups" / f"before-{journal.new}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar"
    form.mode.backup(backup)
    _verify(backup, form, console)
    journal = journals.write(dataclasses.replace(journal, backup=str(backup), new_commit=release.commit))
    bundles.lend(journal.bundle, release.folder)
    _try(release, backup, form, settings, console)
    preflight.check_deployer(form, api, console)
    if workers:
        console.step(
            f"workers      after the upgrade, on the machines of {', '.join(workers)}: git fetch --tags && "
            f"git checkout v{journal.new} && worker/attach.sh install"
        )
    return journal


def _verify(backup: Path, form: Form, console: Console) -> None:
    """Read a backup back from the disk, and check it as a restore would."""
    with opened(backup, console) as found:
        found.check(form.mode.database)
    console.step("backup       verified: complete, with the key of its blocks")


def _try(release: Release, backup: Path, form: Form, settings: Settings, console: Console) -> None:
    """Try the new release on a copy of the database, and compare its deployer's plan with the old one's.

    Raises:
        CommandError: It does not work, or a flow that the old release imports cannot be imported.
    """
    today, tomorrow = FOLDER / "plan-today.txt", FOLDER / "plan-tomorrow.txt"
    with today.open("w", encoding="utf-8") as output:
        subprocess.run(
            [sys.executable, "-m", "local", "plan"],
            cwd=ROOT,
            env={**os.environ, "IMAGE_POLICY": "never"},  # else a build's output would be in the plan
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    _copy_settings(release.folder)
    console.step(f"trial        of {release.version} beside {platform_version()}, on a copy of the database")
    arguments = ("trial", "--form", form.name, str(backup), str(tomorrow))
    try:
        run_stage(
            release.folder, arguments, {**overlay_settings(settings), **form.trial_variables()}, console
        )
    except CommandError as error:
        raise CommandError(f"{release.version} cannot be taken: {error}") from None
    finally:
        form.remove_trial()
    if worse := _troubles(tomorrow) - _troubles(today):
        raise CommandError(f"{release.version} cannot be taken: {sorted(worse)[0]}")


def _troubles(plan: Path) -> set[str]:
    """Return a plan's complaints about unusable entries and flows, without what depends on the folder."""
    found = _TROUBLE.finditer(plan.read_text(encoding="utf-8", errors="replace"))
    return {f"{one['name']} {one['why']}" if one["name"] else one[0] for one in found}


def _copy_settings(folder: Path) -> None:
    """Copy the current settings to the trial, readable only by this user."""
    for name in (".env", "deployer/flows.env"):
        source, target = ROOT / name, folder / name
        if source.is_file() and not target.exists():
            target.touch(mode=0o600)
            shutil.copyfile(source, target)


def overlay_settings(settings: Settings, root: Path = ROOT) -> dict[str, str]:
    """Return the settings that are paths, made absolute so that they hold in another folder."""
    return own_files(settings, root) | {
        name: str(root / Path(value).expanduser())
        for name, value in settings.values.items()
        if value and (name in _PATHS or (name.endswith("_FILE") and name not in _OF_THE_CHECKOUT))
    }
