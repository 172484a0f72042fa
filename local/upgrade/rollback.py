"""The rollback: whatever an upgrade was doing, the old release runs again, with its data as it was."""

from local.api import PrefectApi
from local.console import Console
from local.settings.platform import ROOT, Settings
from local.upgrade import bundles
from local.upgrade import journal as journals
from local.upgrade.forms import Form
from local.upgrade.git import Git
from local.upgrade.journal import Journal
from local.upgrade.smoke import QUEUE, forget_queue, forget_runs
from local.upgrade.stages import await_last_stage, run_stage
from local.upgrade.switch import set_paused, stage_variables

_AS_THEY_WERE = "with its data as it was"


def go_back(form: Form, git: Git, journal: Journal, settings: Settings, console: Console) -> str:
    """Undo a switch. Each step may be repeated, so that an interrupted rollback can start over.

    Returns:
        What happened to the data, in words.

    Raises:
        CommandError: A step failed; the journal stays, and the next `make upgrade` goes on.
    """
    console.step(f"rollback     to {journal.old}")
    await_last_stage(console)
    form.stop()
    if journal.has_files:
        git.put(journal.old_commit, journal.new_commit)
        bundles.put_back(had_one=journal.had_bundle)
    console.step(f"rollback     the checkout's files are those of {journal.old}")
    variables = {**form.put_programs_back(), **stage_variables(settings, journal)}
    form.start_database()
    data = restore_data(form, journal, console)
    run_stage(ROOT, ("start", "--form", form.name), variables, console)
    api = PrefectApi.of(settings)
    forget_runs(api, journal.new)
    forget_queue(api)
    set_paused(api, journal.queues, is_paused=False)
    journals.forget()
    return data


def restore_data(form: Form, journal: Journal, console: Console) -> str:
    """Make the copy the database again, unless that would needlessly lose the end of a flow run.

    Returns:
        What happened to the data, in words.

    Raises:
        CommandError: The copy cannot take the database's place.
    """
    data = _AS_THEY_WERE
    if journal.has_begun and form.copy.exists():
        ended = form.copy.ended_since(QUEUE)
        runs = f"{ended} flow run{'s' if ended > 1 else ''} elsewhere ended meanwhile"
        if ended and not form.copy.differs():
            data = f"with its data as {journal.new} left them, since {runs}"
        else:
            form.copy.put_back()
            data += f"; {runs}, which is lost" if ended else ""
            console.step(f"rollback     the database is as it was before {journal.new} was started")
    form.copy.discard()
    return data
