"""The way back: whatever an upgrade was doing, the old release runs again, on its data as they were."""

from local.api import PrefectApi
from local.console import Console
from local.knobs import ROOT, Knobs
from local.upgrade import bundles
from local.upgrade import journal as journals
from local.upgrade.forms import Form
from local.upgrade.git import Git
from local.upgrade.journal import Journal
from local.upgrade.stages import await_last_stage, run_stage
from local.upgrade.switch import set_paused


def go_back(form: Form, git: Git, journal: Journal, knobs: Knobs, console: Console) -> None:
    """Undo a switch. Each step may be repeated, so that one that was cut off is begun again.

    Raises:
        CommandError: A step failed; the journal stays, and the next `make upgrade` goes on.
    """
    console.step(f"way back     to {journal.old}")
    await_last_stage(console)
    form.stop()
    git.put(journal.old_commit, journal.new_commit)
    bundles.put_back(journal.bundle)
    console.step(f"way back     the checkout's files are those of {journal.old}")
    variables = form.put_programs_back()
    form.start_database()
    if form.copy.exists():
        if form.copy.differs():
            form.copy.put_back()
            console.step(f"way back     the database is as it was before {journal.new} changed its tables")
        else:
            console.step(f"way back     {journal.new} has not changed the database's tables")
        form.copy.discard()
    run_stage(ROOT, ("start", "--form", form.name), variables, console)
    set_paused(PrefectApi.of(knobs), journal.queues, is_paused=False)
    journals.forget()
