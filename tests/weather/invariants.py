"""What has to hold after every sequence, in whatever weather; each function returns what does not."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from tests.weather.mock_weather import RIVALS_CONF
from yeedu_mock.state.enums import RunStatus
from yeedu_mock.state.records import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.weather.calls import Outcome
    from tests.weather.plan import Plan
    from tests.weather.records import Recorded
    from yeedu_mock.mock import Mock

# Of one call: far more than any needs, and far fewer than a loop without waits makes.
MAX_REQUESTS = 300


def own_runs(mock: Mock) -> list[Run]:
    """Return the runs that the operator started, the oldest first."""
    return [run for run in mock.store.all(Run) if RIVALS_CONF not in run.conf]


def submitted_once(mock: Mock) -> Iterator[str]:
    """No run was submitted before the one before it was seen to end."""
    runs = own_runs(mock)
    journal = mock.control.journal.since(0)
    for first, second in itertools.pairwise(runs):
        if first.ended_at is None or first.ended_at > second.created_at:
            yield f"TWICE: run {second.id} was submitted while run {first.id} went on"
        elif not was_seen_to_end(first, second, journal):
            yield f"TWICE: run {second.id} was submitted before anybody saw that run {first.id} had ended"


def was_seen_to_end(first: Run, second: Run, journal: Sequence[dict[str, Any]]) -> bool:
    """Tell whether some answer between the two could show that the first one had ended."""
    assert first.ended_at is not None
    ended, submitted = first.ended_at.timestamp(), second.created_at.timestamp()
    of_run = re.compile(rf"/(run|job|notebook)/{first.id}($|[?])|/(runs|jobs|notebooks)($|[?])")
    return any(
        entry["method"] == "GET"
        and entry["status"] == 200
        and entry["at_seconds"] + entry["duration_seconds"] >= ended
        and entry["at_seconds"] <= submitted
        and of_run.search(entry["path"])
        for entry in journal
    )


def results_are_its_own(mock: Mock, plan: Plan, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A result is that of a run of its own, and all of it unless it says otherwise."""
    runs = {run.id: run for run in own_runs(mock)}
    for outcome in outcomes:
        if outcome.name != "result":
            continue
        run = runs.get(outcome.run_id or 0)
        if run is None:
            yield f"WRONG RESULT: of run {outcome.run_id}, which is none of {sorted(runs)}"
            continue
        if plan.kind == "job" and run.status is not RunStatus.DONE:
            yield f"WRONG RESULT: of run {run.id}, which is {run.status}"
        wanted = printed(mock, plan, run)
        if outcome.text != wanted and not outcome.is_cut and not hides_output(plan):
            yield (
                f"LOST OUTPUT: {outcome.text[:60]!r} ({outcome.text.count(chr(10))} lines) is not what run "
                f"{run.id} printed, {wanted[:60]!r} ({wanted.count(chr(10))} lines)"
            )


def printed(mock: Mock, plan: Plan, run: Run) -> str:
    """Return what a run printed: a job by its log, a notebook by what its cells are."""
    if plan.kind == "job":
        return mock.runs.log_path(run, "stdout").read_text(encoding="utf-8")
    return f"begin {run.key}\n" + "".join(f"line {number}\n" for number in range(plan.lines)) + "end\n"


def hides_output(plan: Plan) -> bool:
    """Whether Yeedu itself does not give all of the output."""
    changed = {*plan.switches, *(name for spell in plan.spells for name in spell.switches)}
    lose = {"log_limit_bytes", "logs_missing", "websocket_swallow", "websocket_lose_every"}
    if any(fault.get("status") in {200, 404} for fault in plan.faults):
        return True  # an answer to a log that is none, or says that there is none
    return bool(changed & lose) or (plan.kind == "notebook" and loses_messages(plan, changed))


def loses_messages(plan: Plan, changed: set[str]) -> bool:
    """Whether messages of the kernel can be lost while nobody listens."""
    drops = {"websocket_drops", "connections_to_drop", "kernel_survives_disconnect"}
    return bool(changed & drops) or bool(plan.faults) or bool(plan.acts) or plan.way == "process"


def records_are_true(mock: Mock, recorded: Sequence[Recorded]) -> Iterator[str]:
    """What is recorded as ended has ended so."""
    for record in recorded:
        run = run_of(record, own_runs(mock))
        if record.is_ended and record.run_id is None and record.state in RunStatus.__members__:
            yield f"FALSE RECORD: an end in {record.state}, of no run"
        elif record.is_ended and record.run_id is not None and (run is None or run.status != record.state):
            found = "no run of this flow run" if run is None else run.status
            state = record.state or "no state"
            yield f"FALSE RECORD: run {record.run_id} ended in {state}, but it is {found}"


def run_of(record: Recorded, runs: Sequence[Run]) -> Run | None:
    """Return the run that a record is about."""
    fitting = [run for run in runs if run.id == record.run_id and record.kind in {None, run.type}]
    return fitting[-1] if fitting else None


def runs_are_accounted_for(mock: Mock, recorded: Sequence[Recorded]) -> Iterator[str]:
    """Every run has ended, or is open on record, if only as an intent whose fate is not known."""
    an_intent_is_open = any(
        record.run_id is None and not (record.is_ended or record.is_none) for record in recorded
    )
    for run in own_runs(mock):
        on_record = [record for record in recorded if run_of(record, [run]) is run]
        if run.status.is_terminal or any(not record.is_ended for record in on_record):
            continue
        if not an_intent_is_open:
            how = f"{on_record[-1].state or 'no state'} on record" if on_record else "on no record"
            yield f"ORPHAN: run {run.id} is {run.status}, and {how}"


def left_runs_have_ended(mock: Mock, plan: Plan, sentences: Sequence[str]) -> Iterator[str]:
    """What was still open has been ended in fine weather, or is named where nobody can know whose it is."""
    for run in own_runs(mock):
        if run.status.is_terminal or (plan.generation == "v1" and sentences):
            continue
        yield f"LEFT BEHIND: run {run.id} is {run.status} after left_runs said {[*sentences]}"


def errors_are_ours(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Whoever calls has one class of errors to expect."""
    for outcome in outcomes:
        if not outcome.is_allowed:
            yield f"FOREIGN ERROR: {outcome.name}: {outcome.text}"


def requests_are_few(requests: int, calls: int) -> Iterator[str]:
    """Nothing asks without waiting."""
    if requests > MAX_REQUESTS * max(1, calls):
        yield f"TOO MANY REQUESTS: {requests} of {calls} calls"


def fine_weather_brings_a_result(plan: Plan, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Nothing fails where nothing is wrong."""
    if plan.is_fine and [outcome.name for outcome in outcomes] != ["result"]:
        yield f"NO RESULT in fine weather: {[*outcomes]}"
