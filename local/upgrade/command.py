"""``make upgrade`` from start to end, and the recovery of an interrupted one."""

import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO, cast

from local.bundle.bundle import CHECKOUT
from local.console import Console
from local.containers.engine import find_engine
from local.errors import CommandError
from local.interrupts import ignore_interrupts, raise_on_interrupts
from local.processes.lock import exclusive
from local.release.version import numbers, platform_version
from local.settings.platform import ROOT, Settings
from local.upgrade import bundles, preflight, releases, rollback_code
from local.upgrade import journal as journals
from local.upgrade.forms import Containers, Form, Processes
from local.upgrade.git import Git
from local.upgrade.journal import FOLDER, RELEASE, Journal, Phase
from local.upgrade.prepare import prepare
from local.upgrade.rollback import go_back
from local.upgrade.stages import Log, await_last_stage
from local.upgrade.switch import finish, switch


@dataclass(frozen=True)
class Wanted:
    """What the user asks for.

    Attributes:
        version: The release; empty for the newest.
        source: A folder that has it, in place of the remote ``origin``.
        is_dry: Whether to do everything except the switch.
    """

    version: str = ""
    source: Path | None = None
    is_dry: bool = False


def upgrade_platform(wanted: Wanted, settings: Settings) -> int:
    """Upgrade the platform of this checkout to a later release, or leave it as it was.

    Raises:
        CommandError: It was left or restored as it was; the message says why, and where the log is.
    """
    if os.name != "posix":
        raise CommandError("an upgrade needs Linux or macOS; on Windows, run it in WSL")
    preflight.check_is_upgradable(settings)
    with exclusive(FOLDER / "lock"), closing(Log(FOLDER / "upgrade.log")) as log:
        console = Console(cast("TextIO", log))
        console.say(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: make upgrade")
        try:
            return _upgrade(wanted, settings, console)
        except (CommandError, OSError) as error:
            raise CommandError(f"{_reason(error)}; log: {log.file.relative_to(ROOT)}") from None


def check_no_upgrade_is_left(restored: Path | None = None) -> None:
    """Refuse to work on a platform that is half one release and half another.

    Args:
        restored: The backup to restore, if any; the upgrade's own is allowed, since it has all data.

    Raises:
        CommandError: An upgrade was interrupted in its switch.
    """
    left = journals.read()
    if left and left.phase is not Phase.PREPARING and not _is_of(left, restored):
        raise CommandError(
            f"an upgrade to {left.new} was interrupted; `make upgrade` undoes or finishes it first"
        )


def form_of_left(restored: Path) -> str:
    """Return the form of the platform whose interrupted upgrade made this backup; empty if there is none."""
    left = journals.read()
    return left.form if left and _is_of(left, restored) else ""


def forget_restored(restored: Path, settings: Settings, console: Console) -> None:
    """End an interrupted upgrade whose backup has been restored."""
    left = journals.read()
    if not left or not _is_of(left, restored):
        return
    form = _form(left, settings, console)
    form.copy.discard()
    _clean(form, Git(ROOT))
    journals.forget()
    console.step(
        f"upgrade      to {left.new} is forgotten; the checkout's files are those of {platform_version()}"
    )


def _is_of(left: Journal, restored: Path | None) -> bool:
    return bool(restored and left.backup and restored.resolve() == Path(left.backup).resolve())


def _upgrade(wanted: Wanted, settings: Settings, console: Console) -> int:
    git, left = Git(ROOT), journals.read()
    form = _form(left, settings, console)
    if left:
        data = settle(left, form, git, settings, console)
        if left.phase is Phase.SWITCHING:
            raise CommandError(
                f"an upgrade to {left.new} was interrupted; {left.old} runs again, {data}; "
                "run make upgrade again to retry"
            )
    old = platform_version()
    source = wanted.source.expanduser().absolute() if wanted.source else None
    new = releases.find(git, wanted.version, source)
    preflight.check_version(old, new)
    if numbers(new) == numbers(old):
        releases.forget(git, RELEASE)
        console.say(f"{old} is what runs here, and the newest release; nothing to do")
        return 0
    console.step(f"upgrade      {old} to {new}; the platform runs as {form.name}")
    bundle = str(source) if source and (source / CHECKOUT).is_file() else ""
    journal = journals.write(Journal(form.name, old, new, git.commit_of("HEAD"), bundle=bundle))
    try:
        journal = prepare(form, git, journal, settings, console)
    except BaseException:
        ignore_interrupts()
        settle(journal, form, git, settings, console)
        raise
    if wanted.is_dry:
        settle(journal, form, git, settings, console)
        console.say(f"{new} can take the place of {old}; make upgrade without DRY_RUN=1 does it")
        return 0
    switch_or_go_back(form, git, journal, settings, console)
    _clean(form, git)
    journals.forget()
    console.say()
    console.say(f"{new} runs. Backup of {old}: {Path(journal.backup).relative_to(ROOT)}")
    return 0


def _form(left: Journal | None, settings: Settings, console: Console) -> Form:
    """Return the form in which the platform runs, or ran when an upgrade was interrupted."""
    containers, processes = Containers(settings, console), Processes(settings, console)
    if left:
        return containers if left.form == containers.name else processes
    if processes.mode.is_up():
        return processes
    if find_engine().is_usable and containers.mode.exists():
        containers.mode.check_is_here()
        return containers
    raise CommandError("the platform is not running; `make up` starts it")


def switch_or_go_back(form: Form, git: Git, journal: Journal, settings: Settings, console: Console) -> None:
    """Switch to the new release, or roll back.

    Raises:
        CommandError: The switch failed; the message says what runs, or what to do if the rollback failed too.
    """
    try:
        switch(form, git, journal, settings, console)
    except KeyboardInterrupt:
        reason = "interrupted"
    except Exception as error:  # noqa: BLE001 - whatever it is, the platform is down
        reason = _reason(error)
    else:
        return
    ignore_interrupts()
    console.step(f"failed       {reason}")
    left = journals.read()
    if left and left.phase is Phase.SWITCHED:
        raise CommandError(f"{journal.new} runs, and {reason}; make upgrade again ends it")
    data = settle(left or journal, form, git, settings, console)
    raise_on_interrupts()
    if not left or left.phase is Phase.PREPARING:
        raise CommandError(reason)
    raise CommandError(f"{reason}; {journal.old} runs again, {data}")


def settle(left: Journal, form: Form, git: Git, settings: Settings, console: Console) -> str:
    """Undo or finish what an upgrade left.

    Returns:
        What happened to the data in a rollback, in words.

    Raises:
        CommandError: It cannot be undone now.
    """
    data = ""
    if left.phase is Phase.SWITCHING:
        try:
            data = go_back(form, git, left, settings, console)
        except Exception as error:  # noqa: BLE001 - whatever it is, the message says what to do
            raise CommandError(
                f"the rollback to {left.old} failed: {_reason(error)}; fix that, and make upgrade again "
                f"goes on with it; should it not, make restore FILE={left.backup} brings the data back"
            ) from None
    await_last_stage(console)
    if left.phase is Phase.SWITCHED:
        finish(form, left, settings, console, starts=True)  # the machine may have stopped since
    _clean(form, git)
    journals.forget()
    return data


def _reason(error: Exception) -> str:
    """Return what went wrong, in one sentence."""
    if isinstance(error, CommandError):
        return str(error)
    if isinstance(error, OSError):
        return f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}"
    return f"{type(error).__name__}: {error}"


def _clean(form: Form, git: Git) -> None:
    """Remove what an upgrade leaves behind: the trial, the clone, the programs of the old release."""
    rollback_code.forget()
    form.remove_trial()
    releases.forget(git, RELEASE)
    bundles.forget()
    shutil.rmtree(FOLDER / "venv", ignore_errors=True)
