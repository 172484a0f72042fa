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
    from collections.abc import Callable, Mapping, Sequence

    from prefect_yeedu.flow_run.deferred_runs import DeferredRun
    from prefect_yeedu.flow_run.record_fields import Definition
    from prefect_yeedu.models import Generation
    from prefect_yeedu.retry_policy import Clock

# Of a workspace's list so many runs are read; the ones looked for that are older are read one by one.
MAX_LISTED = 500
# These show nothing of one run, but that Yeedu cannot be asked now.
_OUTAGES = {Failure.TRANSIENT, Failure.EXPIRED, Failure.OURS}


class RunEnds:
    """A session with one Yeedu, which lasts from round to round, and what it said about runs.

    Args:
        definition: Says which Yeedu and which tenant.
        fields: A record, which names the blocks that hold who asks.
        clock: Where time comes from; the machine's where there is none.
    """

    def __init__(self, definition: Definition, fields: Mapping[str, str], clock: Clock | None = None) -> None:
        self._definition = definition
        self._fields = fields
        self._clock = clock or SystemClock()
        self._client: YeeduClient | None = None
        self._gone: dict[int, FailedPolls] = {}

    def close(self) -> None:
        """Log out; the next question logs in again, as the blocks say then."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def find(
        self, runs: Sequence[DeferredRun], on_refusal: Callable[[DeferredRun, YeeduError], None]
    ) -> list[DeferredRun]:
        """Return those that were seen to have ended, and those that Yeedu has not known for too long.

        Args:
            runs: What to ask for.
            on_refusal: Hears of a run about which Yeedu refuses to tell.

        Raises:
            YeeduError: Yeedu cannot be asked now; the session is closed.
        """
        ids = {run.run_id for run in runs}
        self._gone = {run_id: looks for run_id, looks in self._gone.items() if run_id in ids}
        try:
            return [
                run for api, some in self._by_workspace(runs) for run in self._ended(api, some, on_refusal)
            ]
        except YeeduError:
            self.close()
            raise

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

    def _ended(
        self,
        api: RunAPI,
        runs: Sequence[DeferredRun],
        on_refusal: Callable[[DeferredRun, YeeduError], None],
    ) -> list[DeferredRun]:
        states = self._listed(api, runs) if len(runs) > 1 else {}
        ended: list[DeferredRun] = []
        for run in runs:
            run_id = run.run_id or 0
            state = states.get(run_id)
            try:
                if state is None:
                    state = api.read(run_id, read_seconds=POLL_READ_SECONDS).state
                self._gone.pop(run_id, None)
                is_over = state.is_terminal
            except YeeduError as error:
                if classify(error) in _OUTAGES or error.is_before_call:
                    raise
                is_over = self._is_gone(run_id, error)
                if classify(error) is Failure.REFUSED:
                    on_refusal(run, error)
            if is_over:
                ended.append(run)
        return ended

    def _listed(self, api: RunAPI, runs: Sequence[DeferredRun]) -> dict[int, RunState]:
        """Return the states of those runs that are among the workspace's latest."""
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
            if classify(error) in _OUTAGES or error.is_before_call:
                raise
        return found

    def _is_gone(self, run_id: int, error: YeeduError) -> bool:
        """Tell whether Yeedu has said for long enough that it does not know a run."""
        if classify(error) is not Failure.GONE:
            return False
        looks = self._gone.setdefault(run_id, FailedPolls(WaitOptions(), self._clock))
        return not looks.add(error)
