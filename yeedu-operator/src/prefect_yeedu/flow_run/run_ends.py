"""Finds out which of many runs have ended, with as few calls to Yeedu as possible."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.client.connection import Connection
from prefect_yeedu.errors import YeeduError
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.flow_run.left_runs import load_access
from prefect_yeedu.models import RunKind, RunState
from prefect_yeedu.retry_policy import ONCE, SystemClock
from prefect_yeedu.runs.run_search import ZONES_SECONDS, recent_runs
from prefect_yeedu.runs.wait_options import POLL_READ_SECONDS, FailedPolls, WaitOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeGuard

    from prefect_yeedu.flow_run.deferred_runs import DeferredRun
    from prefect_yeedu.flow_run.record_fields import Definition
    from prefect_yeedu.models import Generation
    from prefect_yeedu.retry_policy import Clock

# The most runs that are read of a workspace's list; wanted runs that are older are read one by one.
MAX_LISTED = 500
# After this many consecutive reads without an answer, a workspace is left alone for the round.
MAX_UNANSWERED = 3
# These say nothing about one run, but that Yeedu cannot be asked with this session.
_OF_THE_SESSION = {Failure.EXPIRED, Failure.OURS}


class RunEnds:
    """A session with one Yeedu, kept from round to round, and what Yeedu said about runs.

    Args:
        definition: Names the Yeedu and the tenant.
        fields: A record's fields, which name the blocks that hold the login.
        clock: The source of time; None for the machine's clock.
    """

    def __init__(self, definition: Definition, fields: Mapping[str, str], clock: Clock | None = None) -> None:
        self._definition = definition
        self._fields = fields
        self._clock = clock or SystemClock()
        self._client: YeeduClient | None = None
        self._failed: dict[int, FailedPolls] = {}  # by run, since its last successful poll

    def close(self) -> None:
        """Log out; the next call logs in again, with what the blocks hold then."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def find(
        self, runs: Sequence[DeferredRun], on_refusal: Callable[[DeferredRun, YeeduError], None]
    ) -> list[DeferredRun]:
        """Return the runs that have ended, and those that Yeedu has not known or reported for too long.

        Args:
            runs: The runs to ask about.
            on_refusal: Called with a run that Yeedu refuses to report, and the error.

        Raises:
            YeeduError: Yeedu cannot be asked now; the session is closed.
        """
        ids = {run.run_id for run in runs}
        self._failed = {run_id: polls for run_id, polls in self._failed.items() if run_id in ids}
        ended: list[DeferredRun] = []
        unanswered: list[tuple[DeferredRun, YeeduError]] = []
        has_answered = False
        try:
            for run, answer in self._answers(runs):
                if _is_silence(answer):
                    unanswered.append((run, answer))
                    continue
                has_answered = True
                if self._is_over(run, answer, on_refusal):
                    ended.append(run)
            if unanswered and not has_answered:
                raise unanswered[0][1]
        except YeeduError:
            self.close()
            if not ended:
                raise
        # Yeedu answers, but not about these: each is given up as a call that waits for it alone would do.
        ended += [run for run, error in unanswered if has_answered and self._is_given_up(run, error)]
        return ended

    def _is_over(
        self,
        run: DeferredRun,
        answer: RunState | YeeduError,
        on_refusal: Callable[[DeferredRun, YeeduError], None],
    ) -> bool:
        if isinstance(answer, RunState):
            self._failed.pop(run.run_id or 0, None)
            return answer.is_terminal
        if classify(answer) is Failure.REFUSED:
            on_refusal(run, answer)
            return False
        return self._is_given_up(run, answer)

    def _by_workspace(self, runs: Sequence[DeferredRun]) -> list[tuple[RunAPI, list[DeferredRun]]]:
        if self._client is None:
            access = load_access(self._fields)
            place = self._definition
            self._client = YeeduClient(
                Connection(place.base_url, place.tenant, access.credentials, access.tls), retries=ONCE
            )
        groups: dict[tuple[int, Generation], list[DeferredRun]] = {}
        for run in runs:
            if run.definition is not None and run.run_id is not None:
                groups.setdefault((run.definition.workspace_id, run.generation), []).append(run)
        return [
            (RunAPI(self._client, workspace, RunKind.JOB, generation, self._clock), some)
            for (workspace, generation), some in groups.items()
        ]

    def _answers(self, runs: Sequence[DeferredRun]) -> Iterator[tuple[DeferredRun, RunState | YeeduError]]:
        """Yield what Yeedu says about each run, last those about which it said nothing before."""
        for api, some in self._by_workspace(runs):
            states = self._listed(api, some) if len(some) > 1 else {}
            silent = 0
            for run in sorted(some, key=lambda run: run.run_id in self._failed):
                answer = states.get(run.run_id or 0) or _read(api, run.run_id or 0)
                yield run, answer
                silent = silent + 1 if _is_silence(answer) else 0
                if silent == MAX_UNANSWERED:
                    break

    def _listed(self, api: RunAPI, runs: Sequence[DeferredRun]) -> dict[int, RunState]:
        """Return the states of those runs that the workspace's list shows among its latest."""
        wanted = {run.run_id for run in runs}
        since = min(run.since for run in runs) + api.client.seconds_ahead - ZONES_SECONDS
        found: dict[int, RunState] = {}
        try:
            for one in islice(recent_runs(api, None, since), MAX_LISTED):
                if one.run_id in wanted:
                    found[one.run_id] = one.state
                if len(found) == len(wanted):
                    break
        except YeeduError as error:
            _raise_if_of_the_session(error)
        return found

    def _is_given_up(self, run: DeferredRun, error: YeeduError) -> bool:
        """Return whether Yeedu has not known or reported a run for as long as a call would wait."""
        polls = self._failed.setdefault(run.run_id or 0, FailedPolls(WaitOptions(), self._clock))
        return not polls.add(error)


def _read(api: RunAPI, run_id: int) -> RunState | YeeduError:
    try:
        return api.read(run_id, read_seconds=POLL_READ_SECONDS).state
    except YeeduError as error:
        _raise_if_of_the_session(error)
        return error


def _raise_if_of_the_session(error: YeeduError) -> None:
    if classify(error) in _OF_THE_SESSION or error.is_before_call:
        raise error


def _is_silence(answer: RunState | YeeduError) -> TypeGuard[YeeduError]:
    return isinstance(answer, YeeduError) and classify(answer) is Failure.TRANSIENT
