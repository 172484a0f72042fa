"""Counts the runs of a definition against its maximum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yeedu_mock.state.records import JobDefinition, NotebookDefinition, Run

if TYPE_CHECKING:
    from yeedu_mock.state.store import Store


def unfinished(store: Store) -> list[Run]:
    """Return the runs that have not ended, the oldest first."""
    return [run for run in store.all(Run) if not run.status.is_terminal]


def has_room(store: Store, run: Run) -> bool:
    """Return whether fewer earlier runs of a run's definition are unfinished than its `max_concurrency`."""
    kind = JobDefinition if run.type == "job" else NotebookDefinition
    definition = store.get(kind, run.definition_id)
    limit = 0 if definition is None else definition.max_concurrency
    of_the_same = [one for one in unfinished(store) if one.definition_key == run.definition_key]
    return not limit or sum(one.key < run.key for one in of_the_same) < limit
