"""From an address to a finished run: choose the generation, submit, wait, return the result."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduConfigurationError,
    YeeduError,
    YeeduKernelError,
    YeeduNotFound,
    YeeduRunCancelled,
    YeeduRunFailed,
    YeeduStopRequested,
    YeeduSubmissionUnknown,
    YeeduTransportError,
)
from prefect_yeedu.models import Generation, RunKind, YeeduResult
from prefect_yeedu.runs.clusters import (
    bind_cluster,
    exhaustion_marker,
    restore_cluster,
    take_up_clusters,
)
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.notebook_run import NotebookRun
from prefect_yeedu.runs.remote_run import RunListener, WaitOptions
from prefect_yeedu.runs.submission import Ledger, Outcome, Record, may_have_been_accepted, submit_once
from prefect_yeedu.urls import TargetKind
from prefect_yeedu.wire.answers import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect_yeedu.client.client import YeeduClient


@dataclass(frozen=True)
class RunRequest:
    """What to run a job or notebook with.

    Attributes:
        arguments: Given to the program as one text; None leaves the definition's own.
        conf: Spark settings, each `key=value`.
        generation: The server's API generation, where it is not to be found out.
        ui_url: Base of links into Yeedu's user interface; None derives it.
        options: How long to wait for what.
        cluster_ids: Clusters to try in order when resources run out on the definition's own.
    """

    arguments: str | None = None
    conf: tuple[str, ...] = ()
    generation: Generation | None = None
    ui_url: str | None = None
    options: WaitOptions = field(default_factory=WaitOptions)
    cluster_ids: tuple[int, ...] = ()


def checked_conf(conf: Sequence[str]) -> tuple[str, ...]:
    """Return conf entries without those that a later one overrides.

    Raises:
        YeeduConfigurationError: An entry is not `key=value`.
    """
    entries: dict[str, str] = {}
    for entry in [conf] if isinstance(conf, str) else conf:
        key, separator, value = entry.partition("=")
        if not (separator and key.strip() and value.strip()):
            raise YeeduConfigurationError(
                f"The conf entry '{entry}' is not of the form key=value; correct it."
            )
        entries.pop(key.strip(), None)
        entries[key.strip()] = value.strip()
    return tuple(f"{key}={value}" for key, value in entries.items())


def execute(
    client: YeeduClient,
    request: RunRequest,
    listener: RunListener | None = None,
    ledger: Ledger | None = None,
) -> YeeduResult:
    """Run what the client's address points at and return its result.

    Args:
        client: A session with the Yeedu at that address.
        request: What to run it with.
        listener: Hears what happens.
        ledger: Remembers runs, so that a call that is made again finds its run again.

    Raises:
        YeeduError: It did not succeed; the class says why.
    """
    url = client.url
    if url.kind is TargetKind.HEALTH:
        details = client.check_health()
        return YeeduResult("health", None, "healthy", f"{url.base_url}/healthCheck", details=details)
    if url.kind is TargetKind.RUN:
        return _attach(client, request, listener)
    api = find_api(client, request)
    if request.cluster_ids:
        return _execute_on_clusters(api, request, listener, ledger or Ledger())
    return start(api, request, listener, ledger).finish()


class StartedRun:
    """A run that exists on Yeedu and has still to be waited for.

    Args:
        run: The run.
        ledger: Where it is recorded.
        record: What was recorded before.
    """

    def __init__(self, run: JobRun | NotebookRun, ledger: Ledger, record: Record) -> None:
        self.run = run
        self._ledger = ledger
        self._record = record

    def finish(self) -> YeeduResult:
        """Wait for the end, record it, and return the result.

        Raises:
            YeeduError: It did not succeed; the class says why.
        """
        run, record = self.run, self._record
        try:
            if isinstance(run, NotebookRun):
                result = run.execute(run.api.client.url.id, ledger=self._ledger, record=record)
            else:
                result = run.wait()
        except YeeduStopRequested:
            self._ledger.note_outcome(Outcome.STOPPED, str(run.state))
            raise
        except YeeduError as error:
            if isinstance(run, JobRun) and isinstance(error, YeeduTransportError | YeeduAPIError):
                raise  # the remote run goes on, and the next attempt finds it
            self._ledger.note_outcome(Outcome.FAILURE, str(run.state))
            raise
        except BaseException:
            self._ledger.note_outcome(Outcome.STOPPED, str(run.state))
            raise
        if record.outcome is not Outcome.SUCCESS:
            self._ledger.note_outcome(Outcome.SUCCESS, result.state, exit_value=result.exit_value)
        return result


def start(
    api: RunAPI, request: RunRequest, listener: RunListener | None = None, ledger: Ledger | None = None
) -> StartedRun:
    """Submit what the client's address points at, or find the run that was submitted before.

    Raises:
        YeeduSubmissionUnknown: Whether there is a run cannot be found out.
        YeeduError: Yeedu refuses to run it.
    """
    ledger = ledger or Ledger()
    definition = api.client.url.id
    with ThreadPoolExecutor(1) as pool:  # who we are is settled while the intent is recorded
        login = pool.submit(copy_context().run, api.client.log_in)
        record = ledger.open()
    try:
        login.result()
        run_id = submit_once(
            api, definition, record, arguments=request.arguments, conf=checked_conf(request.conf)
        )
    except YeeduSubmissionUnknown:
        raise  # the next attempt has to look for the run again
    except YeeduError as error:
        if not may_have_been_accepted(error):
            ledger.note_outcome(Outcome.FAILURE, "not submitted")
        raise
    run = make_run(api, run_id, request, listener)
    if record.run_id is None:
        ledger.note_run(run_id, run.url)
    run.listener.on_submitted(run, is_new=record.is_new)
    return StartedRun(run, ledger, record)


def find_api(client: YeeduClient, request: RunRequest) -> RunAPI:
    """Return the calls about the kind of run that the client's address points at.

    Raises:
        YeeduConfigurationError: The request asks for something that the API generation does not have.
    """
    if client.url.run_kind is RunKind.NOTEBOOK:
        api = RunAPI(client, RunKind.NOTEBOOK, _generation_of_notebook(client, request))
    else:
        api = RunAPI(client, RunKind.JOB, request.generation or client.url.generation or Generation.V2)
    if not api.routes.takes_conf and (request.arguments is not None or request.conf):
        raise YeeduConfigurationError(
            "Yeedu's first API generation takes neither arguments nor conf for a run; leave them out, "
            "or set generation to 'v1b' if this server is a later one."
        )
    return api


def _execute_on_clusters(
    api: RunAPI, request: RunRequest, listener: RunListener | None, ledger: Ledger
) -> YeeduResult:
    """Run on the definition's own cluster, and on further ones as long as resources run out."""
    listener = listener or RunListener()
    own_cluster, waiting = take_up_clusters(api, request.cluster_ids, listener, ledger)
    try:
        while True:
            started = start(api, request, listener, ledger)
            try:
                return started.finish()
            except (YeeduRunFailed, YeeduRunCancelled, YeeduKernelError) as error:
                if isinstance(error, YeeduStopRequested) or not waiting:
                    raise
                marker = exhaustion_marker(api, started.run.run_id, error)
                if marker is None:
                    raise
            cluster = waiting.pop(0)
            listener.on_trouble(f"Resources ran out ({marker}); running again on cluster {cluster}.")
            if own_cluster is not None:
                ledger.note_move(own_cluster, cluster)
            bind_cluster(api, cluster)
    finally:
        restore_cluster(api, own_cluster, listener, ledger)


def make_run(
    api: RunAPI, run_id: int, request: RunRequest, listener: RunListener | None
) -> JobRun | NotebookRun:
    """Return the object that stands for a run which exists on Yeedu."""
    kind = NotebookRun if api.kind is RunKind.NOTEBOOK else JobRun
    return kind(api, run_id, ui_url=request.ui_url, options=request.options, listener=listener)


def _attach(client: YeeduClient, request: RunRequest, listener: RunListener | None) -> YeeduResult:
    """Wait for a run that exists; a run's address does not always say what it executes.

    A notebook's run is taken over: its cells are sent by whoever started it, who must be gone by then.
    """
    url = client.url
    generation = request.generation or url.generation or Generation.V2
    kinds = [url.run_kind] if url.run_kind is not None else list(RunKind)
    for kind in kinds:
        api = RunAPI(client, kind, generation)
        try:
            snapshot = api.read(url.id)
        except YeeduNotFound:
            continue
        run = make_run(api, url.id, request, listener)
        run.listener.on_submitted(run, is_new=False)
        if isinstance(run, JobRun):
            return run.wait()
        definition = number_of(snapshot.fields, api.routes.definition_field)
        if definition is None:
            raise YeeduConfigurationError(
                f"Yeedu does not say which notebook run {url.id} executes; give the notebook's own address."
            )
        return run.execute(definition, record=Record(key="", is_new=False, run_id=url.id))
    raise YeeduNotFound(
        f"There is no {' or '.join(kinds)} run {url.id} in workspace {url.workspace_id} of tenant "
        f"{url.tenant} at {url.origin}, or this user may not see it; check the URL.",
        status=404,
    )


def _generation_of_notebook(client: YeeduClient, request: RunRequest) -> Generation:
    """Return which generation knows the notebook; the address of a notebook is the same in all of them."""
    known = request.generation or client.url.generation
    if known is not None:
        return known
    try:
        RunAPI(client, RunKind.NOTEBOOK, Generation.V2).definition(client.url.id)
    except YeeduNotFound as error:
        not_found = error
    else:
        return Generation.V2
    try:
        RunAPI(client, RunKind.NOTEBOOK, Generation.V1).definition(client.url.id)
    except YeeduNotFound:
        raise not_found from None
    return Generation.V1
