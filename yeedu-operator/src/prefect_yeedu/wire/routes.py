"""The routes of each API generation, as data (yeedu-protocol section 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prefect_yeedu.models import Generation, RunKind

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Routes:
    """Paths and field names for one kind of run in one generation.

    Paths are below `workspace/{workspace}/`; `{run}` is the run's id, `{definition}` the definition's.

    Attributes:
        submit: POST starts a run.
        definition_field: The definition's id, in a submission and as a query parameter of `definition`.
        name_field: The definition's name, as a query parameter of `definition`.
        definitions: GET lists definitions.
        run_field: The run's id in the answer to a submission and in lists.
        state_field: The run's state.
        run: GET reads a run.
        stop: POST ends a run.
        log: GET reads a log; `{stream}` is `stdout` or `stderr`.
        runs: GET lists runs.
        definition_filter: The query parameter of `runs` that selects those of one definition.
        definition: GET reads the definition, PUT changes it.
        errors: GET reads what Yeedu reports about a failure; None if there is no such call.
        submission: Additional fields of a submission.
        takes_conf: Whether a submission may carry `arguments` and `conf`; the first generation's may not.
        kernel: Prefix of a notebook's kernel routes.
        document: GET reads a run's copy of the notebook; None if the definition leads to it.
        update: POST saves a notebook.
    """

    submit: str
    definition_field: str
    name_field: str
    definitions: str
    run_field: str
    state_field: str
    run: str
    stop: str
    log: str
    runs: str
    definition_filter: str
    definition: str
    errors: str | None = None
    submission: tuple[tuple[str, object], ...] = ()
    takes_conf: bool = True
    kernel: str = ""
    document: str | None = None
    update: str = ""


_V1_JOB = Routes(
    submit="spark/job",
    definition_field="job_conf_id",
    name_field="job_conf_name",
    definitions="spark/job/confs",
    run_field="job_id",
    state_field="job_status",
    run="spark/job/{run}",
    stop="spark/job/kill/{run}",
    log="spark/job/{run}/log/{stream}",
    runs="spark/jobs",
    definition_filter="job_conf_ids",
    definition="spark/job/conf",
    takes_conf=False,
)
_V1_NOTEBOOK = Routes(
    submit="notebook",
    definition_field="notebook_conf_id",
    name_field="notebook_name",
    definitions="notebook/confs",
    run_field="notebook_id",
    state_field="notebook_status",
    run="notebook/{run}",
    stop="notebook/kill/{run}",
    log="notebook/{run}/log/{stream}",
    runs="notebooks",
    definition_filter="notebook_conf_ids",
    definition="notebook/conf",
    takes_conf=False,
    kernel="notebook/{run}/kernel",
    update="notebook/{definition}/update",
)
_V2_JOB = Routes(
    submit="spark/job/run",
    definition_field="job_id",
    name_field="job_name",
    definitions="spark/jobs",
    run_field="run_id",
    state_field="run_status",
    run="spark/job/run/{run}",
    stop="spark/job/run/stop/{run}",
    log="spark/job/run/{run}/log/{stream}",
    runs="spark/job/runs",
    definition_filter="job_ids",
    definition="spark/job",
    errors="spark/job/run/{run}/workflow/errors",
)
_V2_NOTEBOOK = Routes(
    submit="notebook/run",
    definition_field="notebook_id",
    name_field="notebook_name",
    definitions="notebooks",
    run_field="run_id",
    state_field="run_status",
    run="notebook/run/{run}",
    stop="notebook/run/kill/{run}",
    log="notebook/run/{run}/log/{stream}",
    runs="notebook/runs",
    definition_filter="notebook_ids",
    definition="notebook",
    errors="notebook/run/{run}/workflow/errors",
    submission=(("is_background", True),),
    kernel="notebook/run/{run}/kernel",
    document="notebook/{definition}/run/{run}/download",
    update="notebook/{definition}/update",
)

ROUTES: Mapping[tuple[RunKind, Generation], Routes] = {
    (RunKind.JOB, Generation.V1): _V1_JOB,
    (RunKind.JOB, Generation.V1B): replace(_V1_JOB, takes_conf=True),
    (RunKind.JOB, Generation.V2): _V2_JOB,
    (RunKind.NOTEBOOK, Generation.V1): _V1_NOTEBOOK,
    (RunKind.NOTEBOOK, Generation.V1B): replace(_V1_NOTEBOOK, takes_conf=True),
    (RunKind.NOTEBOOK, Generation.V2): _V2_NOTEBOOK,
}
