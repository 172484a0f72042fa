"""``make upgrade`` from its first line to its last, and what it makes of an earlier one that was cut off."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO, cast

from local.api import PrefectApi
from local.archive import read_archive
from local.console import Console
from local.engine import find_engine
from local.errors import CommandError
from local.interrupts import ignore_interrupts, raise_on_interrupts
from local.knobs import ROOT, Knobs
from local.lock import exclusive
from local.restore import opened
from local.upgrade import bundles, preflight, releases
from local.upgrade import journal as journals
from local.upgrade.forms import Containers, Form, Processes, settings
from local.upgrade.git import Git
from local.upgrade.journal import FOLDER, Journal, Phase
from local.upgrade.releases import Release
from local.upgrade.stages import Log, await_last_stage, run_stage
from local.upgrade.switch import finish, switch
from local.upgrade.way_back import go_back
from local.version import numbers, platform_version

_RELEASE = FOLDER / "release"
_TROUBLE = re.compile(r"(?m)^(?:error: .*|deployment: (?P<name>.+?): .*?(?P<why>does not import.*))$")


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        version: The release; empty for the newest.
        source: A folder that has it, in place of the remote ``origin``.
        is_dry: Whether to do all but the switch.
    """

    version: str = ""
    source: Path | None = None
    is_dry: bool = False


def upgrade_platform(wanted: Wanted, knobs: Knobs) -> int:
    """Bring the platform of this checkout to a later release, or leave it as it was.

    Raises:
        CommandError: It was left, or brought back, as it was; the message says why, and where the log is.
    """
    if os.name != "posix":
        raise CommandError("an upgrade needs Linux or macOS; on Windows, run it in WSL")
    preflight.check_is_upgradable(knobs)
    with exclusive(FOLDER / "lock"):
        log = Log(FOLDER / "upgrade.log")
        console = Console(cast("TextIO", log))
        console.say(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: make upgrade")
        try:
            return _upgrade(wanted, knobs, console)
        except CommandError as error:
            raise CommandError(f"{error}; log: {log.file.relative_to(ROOT)}") from None


def check_no_upgrade_is_left() -> None:
    """Refuse to work on a platform that is half of one release and half of another.

    Raises:
        CommandError: An upgrade was cut off in its switch.
    """
    left = journals.read()
    if left and left.phase is not Phase.PREPARING:
        raise CommandError(f"an upgrade to {left.new} was cut off; `make upgrade` undoes or ends it first")


def _upgrade(wanted: Wanted, knobs: Knobs, console: Console) -> int:
    git, left = Git(ROOT), journals.read()
    form = _form(left, knobs, console)
    if left:
        _settle(left, form, git, knobs, console)
        if left.phase is Phase.SWITCHING:
            raise CommandError(
                f"an upgrade to {left.new} was cut off; {left.old} runs again, with its data as they were; "
                "make upgrade again tries anew"
            )
    old = platform_version()
    new = releases.find(git, wanted.version, wanted.source)
    preflight.check_version(old, new)
    if numbers(new) == numbers(old):
        releases.forget(git, _RELEASE)
        console.say(f"{old} is what runs here, and the newest release; nothing to do")
        return 0
    console.step(f"upgrade      {old} to {new}; the platform runs as {form.name}")
    source = wanted.source.expanduser().absolute() if wanted.source else None
    bundle = str(source) if source and (source / releases.BUNDLED).is_file() else ""
    journal = journals.write(Journal(form.name, old, new, git.commit_of("HEAD"), bundle=bundle))
    try:
        journal = _prepare(form, git, journal, knobs, console)
    except BaseException:
        ignore_interrupts()
        _settle(journal, form, git, knobs, console)
        raise
    if wanted.is_dry:
        _settle(journal, form, git, knobs, console)
        console.say(f"{new} can take the place of {old}; make upgrade without DRY_RUN=1 does it")
        return 0
    _switch(form, git, journal, knobs, console)
    _clean(form, git)
    journals.forget()
    console.say()
    console.say(f"{new} runs. Backup of {old}: {Path(journal.backup).relative_to(ROOT)}")
    return 0


def _form(left: Journal | None, knobs: Knobs, console: Console) -> Form:
    """Return the form that the platform runs in, or ran in when an upgrade was cut off."""
    containers, processes = Containers(knobs, console), Processes(knobs, console)
    if left:
        return containers if left.form == containers.name else processes
    if processes.mode.is_up():
        return processes
    if find_engine().is_usable and containers.mode.exists():
        containers.mode.check_is_here()
        return containers
    raise CommandError("the platform is not running; `make up` starts it")


def _prepare(form: Form, git: Git, journal: Journal, knobs: Knobs, console: Console) -> Journal:
    """Do all that touches nothing of the running platform."""
    api = PrefectApi.of(knobs)
    preflight.check_health(form, console)
    preflight.check_deployer(form, api, console)
    release = releases.clone(git, journal.new, _RELEASE)
    preflight.check_stops(release, journal.old, console)
    preflight.check_files(git, release, console)
    workers = preflight.check_workers(api, knobs, journal.old, console)
    preflight.check_room(form, console)
    backup = ROOT / "backups" / f"before-{journal.new}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar"
    form.mode.backup(backup)
    _verify(backup, form, console)
    journal = journals.write(dataclasses.replace(journal, backup=str(backup), new_commit=release.commit))
    bundles.lend(journal.bundle, release.folder)
    _try(release, backup, form, knobs, console)
    preflight.check_deployer(form, api, console)
    if workers:
        console.step(
            f"workers      after the upgrade, on the machines of {', '.join(workers)}: git fetch --tags && "
            f"git checkout v{journal.new} && worker/attach.sh install"
        )
    return journal


def _verify(backup: Path, form: Form, console: Console) -> None:
    """Read a backup back from the disk, and judge it as a restore would."""
    with TemporaryDirectory() as folder:
        read_archive(backup, Path(folder))
    with opened(backup, console) as found:
        found.check(form.mode.database)
    console.step("backup       read back: whole, with the key of its blocks")


def _try(release: Release, backup: Path, form: Form, knobs: Knobs, console: Console) -> None:
    """Try the new release on a copy, and compare what the deployer makes of the flows with today's.

    Raises:
        CommandError: It does not work, or a flow that imports today would not any more.
    """
    today, tomorrow = FOLDER / "plan-today.txt", FOLDER / "plan-tomorrow.txt"
    with today.open("w", encoding="utf-8") as output:
        subprocess.run(
            [sys.executable, "-m", "local", "plan"],
            cwd=ROOT,
            env={**os.environ, "IMAGE_POLICY": "never"},  # a build before it would be told there
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    _copy_settings(release.folder)
    console.step(f"trial        of {release.version} beside {platform_version()}, on a copy of the database")
    arguments = ("trial", "--form", form.name, str(backup), str(tomorrow))
    try:
        run_stage(release.folder, arguments, {**settings(knobs), **form.trial_variables()}, console)
    except CommandError as error:
        raise CommandError(f"{release.version} cannot be taken: {error}") from None
    finally:
        form.remove_trial()
    if worse := _troubles(tomorrow) - _troubles(today):
        raise CommandError(f"{release.version} cannot be taken: {sorted(worse)[0]}")


def _troubles(plan: Path) -> set[str]:
    """Return what a plan says of entries and flows that cannot be used, without what differs by place."""
    found = _TROUBLE.finditer(plan.read_text(encoding="utf-8", errors="replace"))
    return {f"{one['name']} {one['why']}" if one["name"] else one[0] for one in found}


def _copy_settings(folder: Path) -> None:
    """Give the trial the settings of today, as private as they are here."""
    for name in (".env", "deployer/flows.env"):
        source, target = ROOT / name, folder / name
        if source.is_file() and not target.exists():
            target.touch(mode=0o600)
            shutil.copyfile(source, target)


def _switch(form: Form, git: Git, journal: Journal, knobs: Knobs, console: Console) -> None:
    """Switch, or go back.

    Raises:
        CommandError: The old release runs again; or, should the way back have failed, what to do.
    """
    try:
        switch(form, git, journal, knobs, console)
    except KeyboardInterrupt:
        reason = "interrupted"
    except (CommandError, OSError) as error:
        reason = str(error)
    else:
        return
    ignore_interrupts()
    console.step(f"failed       {reason}")
    left = journals.read()
    if left and left.phase is Phase.SWITCHED:
        raise CommandError(f"{journal.new} runs, and {reason}; make upgrade again ends it")
    _settle(left or journal, form, git, knobs, console)
    raise_on_interrupts()
    raise CommandError(f"{reason}; {journal.old} runs again, with its data as they were")


def _settle(left: Journal, form: Form, git: Git, knobs: Knobs, console: Console) -> None:
    """Undo, or end, what an upgrade left.

    Raises:
        CommandError: It cannot be undone now.
    """
    if left.phase is Phase.SWITCHING:
        try:
            go_back(form, git, left, knobs, console)
        except CommandError as error:
            raise CommandError(
                f"the way back to {left.old} has failed: {error}; mend that, and make upgrade again goes on "
                f"with it; should it not, {left.backup} has the data"
            ) from None
    await_last_stage(console)
    if left.phase is Phase.SWITCHED:
        finish(form, left, knobs)
    _clean(form, git)
    journals.forget()


def _clean(form: Form, git: Git) -> None:
    """Remove what an upgrade needs no more: the trial, the clone, the programs of the old release."""
    form.remove_trial()
    releases.forget(git, _RELEASE)
    bundles.forget()
    shutil.rmtree(FOLDER / "venv", ignore_errors=True)
