"""From an address to a finished run: choose the generation, submit, wait, return the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.errors import (
    YeeduConfigurationError,
    YeeduKernelError,
    YeeduNotFound,
    YeeduRunCancelled,
    YeeduRunFailed,
    YeeduStopRequested,
)
from prefect_yeedu.models import Generation, RunKind, YeeduResult
from prefect_yeedu.runs.clusters import (
    bind_cluster,
    exhaustion_marker,
    restore_cluster,
    take_up_clusters,
)
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.starting import RunRequest, make_run, start
from prefect_yeedu.runs.submission import Ledger, Record
from prefect_yeedu.urls import TargetKind
from prefect_yeedu.wire.answers import number_of

if TYPE_CHECKING:
    from prefect_yeedu.client.client import YeeduClient


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
