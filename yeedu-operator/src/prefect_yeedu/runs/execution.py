"""Runs a job or notebook from start to finish: choose the API generation, submit, wait, return the result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.client.login import NO_SUCH_CALL
from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduConfigurationError,
    YeeduKernelError,
    YeeduNotFound,
    YeeduRunFailed,
)
from prefect_yeedu.models import Generation, RunKind, YeeduResult
from prefect_yeedu.runs.clusters import (
    bind_cluster,
    exhaustion_marker,
    restore_cluster,
    take_up_clusters,
)
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.record import Ledger, Record, Resume
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.start import StartedRun, make_run, start_and
from prefect_yeedu.urls import TargetKind
from prefect_yeedu.wire.responses import number_of

if TYPE_CHECKING:
    from prefect_yeedu.client.client import YeeduClient
    from prefect_yeedu.retry_policy import Clock
    from prefect_yeedu.runs.request import RunRequest
    from prefect_yeedu.urls import Target


def execute(
    client: YeeduClient,
    target: Target,
    request: RunRequest,
    listener: RunListener | None = None,
    ledger: Ledger | None = None,
    clock: Clock | None = None,
) -> YeeduResult:
    """Run a target and return its result.

    Args:
        client: A session with Yeedu.
        target: A job, notebook, run, or the server's health.
        request: Arguments, Spark settings and options.
        listener: Is told what happens.
        ledger: Records runs, so that a call that is made again finds its run.
        clock: The clock for waits; None for the client's.

    Raises:
        YeeduError: The call did not succeed; the class says why.
    """
    clock = clock or client.clock
    if target.kind is TargetKind.HEALTH:
        details = client.check_health()
        address = f"{client.connection.base_url}/healthCheck"
        return YeeduResult("health", None, "healthy", address, details=details)
    if target.kind is TargetKind.RUN:
        return _attach(client, target, request, listener, clock)
    api = find_api(client, target, request, clock)
    if request.cluster_ids:
        return _execute_on_clusters(api, target.id, request, listener, ledger or Ledger())
    return start_and(StartedRun.finish, api, target.id, request, listener, ledger)


def find_api(client: YeeduClient, target: Target, request: RunRequest, clock: Clock | None = None) -> RunAPI:
    """Return the API for the kind of run that a target names.

    Raises:
        YeeduConfigurationError: The request asks for something that the API generation does not have.
    """
    clock = clock or client.clock
    known = request.generation or target.generation
    if target.run_kind is RunKind.NOTEBOOK:
        generation = known or _generation_of_notebook(client, target, clock)
        api = RunAPI(client, target.workspace_id, RunKind.NOTEBOOK, generation, clock)
    else:
        api = RunAPI(client, target.workspace_id, RunKind.JOB, known or Generation.V2, clock)
    if not api.routes.takes_conf and (request.arguments is not None or request.conf):
        raise YeeduConfigurationError(
            "Yeedu's first API generation takes neither arguments nor conf for a run; leave them out, "
            "or set generation to 'v1b' if this server is a later one."
        )
    request.cell_options.check_for(api, target.id)
    return api


def _execute_on_clusters(
    api: RunAPI, definition: int, request: RunRequest, listener: RunListener | None, ledger: Ledger
) -> YeeduResult:
    """Run on the definition's own cluster, then on fallback clusters as long as resources run out."""
    listener = listener or RunListener()
    own_cluster, waiting = take_up_clusters(api, definition, request.cluster_ids, listener, ledger)
    resume = request.resume

    def finish(started: StartedRun) -> YeeduResult | tuple[str, int]:
        """Return the result or, if resources ran out, what shows that and the definition's own cluster."""
        try:
            return started.finish()
        except (YeeduRunFailed, YeeduKernelError) as error:
            marker = exhaustion_marker(started.run, error) if waiting else None
            if marker is None or own_cluster is None:
                raise
            return marker, own_cluster

    try:
        while True:
            wanted = replace(request, resume=resume)
            found = start_and(finish, api, definition, wanted, listener, ledger)
            if isinstance(found, YeeduResult):
                return found
            marker, own = found
            cluster = waiting.pop(0)
            resume = Resume.ON_CRASH  # from the second on, runs are this attempt's own
            listener.on_trouble(f"Resources ran out ({marker}); running again on cluster {cluster}.")
            ledger.note_move(own, cluster)
            bind_cluster(api, definition, cluster)
    finally:
        restore_cluster(api, definition, own_cluster, listener, ledger)


def _attach(
    client: YeeduClient, target: Target, request: RunRequest, listener: RunListener | None, clock: Clock
) -> YeeduResult:
    """Wait for an existing run, whose address does not always say what it executes.

    A notebook's run is taken over, so the process that started it and sent its cells must be gone.
    """
    generation = request.generation or target.generation or Generation.V2
    kinds = [target.run_kind] if target.run_kind is not None else list(RunKind)
    for kind in kinds:
        api = RunAPI(client, target.workspace_id, kind, generation, clock)
        try:
            snapshot = api.read(target.id)
        except YeeduNotFound:
            continue
        run = make_run(api, target.id, request, listener)
        run.listener.on_submitted(run, is_new=False)
        if isinstance(run, JobRun):
            return run.wait()
        definition = number_of(snapshot.fields, api.routes.definition_field)
        if definition is None:
            raise YeeduConfigurationError(
                f"Yeedu does not say which notebook run {target.id} executes; "
                "give the notebook's own address."
            )
        return run.execute(definition, record=Record(key="", is_new=False, run_id=target.id))
    connection = client.connection
    raise YeeduNotFound(
        f"There is no {' or '.join(kinds)} run {target.id} in workspace {target.workspace_id} of tenant "
        f"{connection.tenant} at {connection.origin}, or this user may not see it; check the URL.",
        status=404,
    )


def _generation_of_notebook(client: YeeduClient, target: Target, clock: Clock) -> Generation:
    """Return the generation that knows the notebook; the address of a notebook is the same in all of them.

    A server without the call may say so in many ways; only V1's own call shows that the server is of V1.
    """

    def knows(generation: Generation) -> None:
        RunAPI(client, target.workspace_id, RunKind.NOTEBOOK, generation, clock).definition(target.id)

    try:
        knows(Generation.V2)
    except YeeduAPIError as error:
        if error.status not in NO_SUCH_CALL:
            raise
        failure = error
    else:
        return Generation.V2
    try:
        knows(Generation.V1)
    except YeeduAPIError:
        raise failure from None
    return Generation.V1
