"""Where each of Yeedu's two APIs keeps runs and what they are of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Routes:
    """Paths below a workspace, and names of fields; `{run}` is a run's id.

    Attributes:
        runs: Lists runs.
        run: Reads one.
        definition: Reads a job or notebook.
        submit: Starts a run.
        stop: Ends one.
        run_field: A run's id, in lists and answers.
        state_field: Its state.
        definition_field: The job's or notebook's id, as a field and in a query.
        definition_filter: Keeps a list to the runs of one.
    """

    runs: str
    run: str
    definition: str
    submit: str
    stop: str
    run_field: str
    state_field: str
    definition_field: str
    definition_filter: str


NEWER = {
    "job": Routes(
        "spark/job/runs",
        "spark/job/run/{run}",
        "spark/job",
        "spark/job/run",
        "spark/job/run/stop/{run}",
        "run_id",
        "run_status",
        "job_id",
        "job_ids",
    ),
    "notebook": Routes(
        "notebook/runs",
        "notebook/run/{run}",
        "notebook",
        "notebook/run",
        "notebook/run/kill/{run}",
        "run_id",
        "run_status",
        "notebook_id",
        "notebook_ids",
    ),
}
OLDER = {
    "job": Routes(
        "spark/jobs",
        "spark/job/{run}",
        "spark/job/conf",
        "spark/job",
        "spark/job/kill/{run}",
        "job_id",
        "job_status",
        "job_conf_id",
        "job_conf_ids",
    ),
    "notebook": Routes(
        "notebooks",
        "notebook/{run}",
        "notebook/conf",
        "notebook",
        "notebook/kill/{run}",
        "notebook_id",
        "notebook_status",
        "notebook_conf_id",
        "notebook_conf_ids",
    ),
}
