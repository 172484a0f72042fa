"""What the operator takes for granted of a Yeedu server, though no public client shows that it is so."""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "nothing"


@dataclass(frozen=True)
class Assumption:
    """One thing that may be so or not.

    Attributes:
        key: Its name in the JSON report.
        says: What is taken for granted.
        used_for: What of the operator relies on it.
        otherwise: What becomes of that on a server where it is not so.
    """

    key: str
    says: str
    used_for: str = NOTHING
    otherwise: str = "nothing changes"


def _field(name: str, used_for: str = NOTHING, otherwise: str = "nothing changes") -> Assumption:
    return Assumption(f"run-{name.replace('_', '-')}", f"Runs show `{name}`", used_for, otherwise)


RUN_FIELDS = {
    "conf": _field(
        "conf",
        "finding the run of an attempt that was killed, by the key among its entries",
        "such a run is not found, and the flow says that it is not known whether there is one",
    ),
    "arguments": _field(
        "arguments", "telling runs of the older API apart", "they are told apart by time alone"
    ),
    "created_at": _field(
        "created_at",
        "where to stop looking for a run; finding one in the older API",
        "every page of the list is read; in the older API such a run is not found",
    ),
    "created_by": _field(
        "created_by",
        "telling one's own runs from those of others in the older API",
        "with several runs of one time it is not known which is one's own",
    ),
    "start_time": _field("start_time", "the summary of a run", "it leaves that out"),
    "end_time": _field(
        "end_time",
        "knowing that a run with an unknown state has ended",
        "such a run is waited for until the flow's time limit",
    ),
    "execution_time_sec": _field(
        "execution_time_sec", "expecting a run's end about when earlier ones ended", "an end is noticed later"
    ),
    "exit_code": _field("exit_code", "the summary of a run", "it leaves that out"),
    "cluster_id": _field("cluster_id", "the summary of a run", "it leaves that out"),
    "application_id": _field("application_id", "the summary of a run", "it leaves that out"),
    "workspace_id": _field("workspace_id"),
    "is_background": _field("is_background"),
    "job_conf": _field("job_conf"),
}

SESSIONS = (
    Assumption(
        "health",
        "The health check answers 200 without a login",
        "flows that check Yeedu's health",
        "they fail although Yeedu is well",
    ),
    Assumption(
        "auth-type",
        "`login/auth_type` says how users log in",
        "asking for a token where there is single sign-on",
        "the password is tried",
    ),
    Assumption(
        "login", "A user name and a password are answered with a token", "logging in", "it needs a token"
    ),
    Assumption(
        "login-lifetime",
        "A token lasts as long as the login asked for",
        "an end of the sessions that killed attempts leave behind",
        "they last as long as Yeedu likes",
    ),
    Assumption("tenant-first", "Workspaces are closed until a tenant is selected"),
    Assumption("select-once", "Selecting a tenant a second time is a 409"),
    Assumption("select-answer", "Selecting a tenant is answered with content"),
    Assumption(
        "user-info",
        "`user/info` names the user and the tenant",
        "noticing a token of another tenant; telling one's own runs in the older API",
        "a token of another tenant shows as unknown jobs; runs are told apart by time alone",
    ),
    Assumption(
        "refused-401",
        "A token that is not accepted is a 401",
        "logging in again, once",
        "a 440 is understood too; with another status a session that ends fails the flow",
    ),
    Assumption(
        "logout", "A token ends at the logout", "leaving no session behind", "it lasts until its time is up"
    ),
)

ERRORS = (
    Assumption(
        "error-code",
        "Errors carry Yeedu's `error_code`",
        "telling what Yeedu answers from what a proxy does",
        "every refusal is waited out like an outage",
    ),
    Assumption(
        "unknown-run",
        "An unknown run is a 404",
        "noticing that a run is gone",
        "the flow fails with the status alone",
    ),
    Assumption(
        "unknown-definition",
        "An unknown job or notebook is a 404",
        "saying that the address is wrong",
        "the flow fails with the status alone",
    ),
    Assumption(
        "unlimited",
        "No call is refused as one too many (429)",
        "noticing an end, and new lines of a log, soon",
        "`Retry-After` is kept to, and both are noticed later",
    ),
)

LISTS = (
    Assumption(
        "newer-api",
        "Runs are served below `run` (the newer API)",
        "a job's address with `job`, and notebooks",
        "such an address does not work, take the one with `conf`; notebooks run as in the older API",
    ),
    Assumption(
        "older-api",
        "Runs are served as in the older API",
        "a job's address with `conf`",
        "such an address does not work, take the one with `job`",
    ),
    Assumption(
        "other-api",
        "What belongs to the other API is a 404",
        "finding out which API a server has",
        "400 and 405 are understood too; after another status the flow fails",
    ),
    Assumption(
        "list-order",
        "Lists of runs are newest first",
        "finding a run on the first page",
        "more pages are read, up to a time limit",
    ),
    Assumption(
        "list-pages",
        "`pageNumber` and `limit` page through a list",
        "finding a run among more than a hundred",
        "a run that is not on the first page is not found",
    ),
    Assumption(
        "list-filter",
        "A list can be kept to the runs of one job",
        "finding a run with few calls",
        "runs of others are looked through as well",
    ),
    Assumption("list-count", "A list says how many there are in all"),
    Assumption(
        "list-empty",
        "An empty list is a 200",
        "knowing that nothing was started",
        "a 404 is taken for that, if it carries Yeedu's `error_code`",
    ),
    Assumption(
        "list-fields",
        "A list shows as much of a run as the run itself",
        "finding a run with few calls",
        "runs are read one by one",
    ),
    Assumption("ids-apart", "Runs of jobs and of notebooks do not share their ids"),
)

RUNS = (
    *RUN_FIELDS.values(),
    Assumption(
        "run-definition",
        "Runs show which job or notebook they are of",
        "the address of a run alone",
        "the flow needs the job's or notebook's own address",
    ),
    Assumption(
        "time-zone",
        "`created_at` has a time zone",
        "comparing it with one's own clock",
        "it is taken for UTC",
    ),
    Assumption(
        "clock",
        "The server's clock and this machine's differ by less than 10 s",
        "finding a run of the older API by its time",
        "the wrong run may be found, or none",
    ),
    Assumption(
        "states",
        "States are SUBMITTED, RUNNING, STOPPING, DONE, ERROR, STOPPED, TERMINATED or KILLED",
        "knowing that a run has ended, and how",
        "a run in another state is waited for until its `end_time` is shown",
    ),
)

DEFINITIONS = (
    Assumption("workspace", "A workspace can be read by its id"),
    Assumption(
        "job", "A job can be read by its id", "saying that an address is wrong", "the flow fails later"
    ),
    Assumption(
        "job-cluster",
        "A job names its cluster",
        "giving it back its own cluster after a fallback",
        "it stays on the fallback cluster",
    ),
    Assumption(
        "notebook",
        "A notebook can be read by its id",
        "finding out which API a server has",
        "the older API is tried",
    ),
    Assumption(
        "notebook-language",
        "A notebook names its language",
        "running SQL cells as SQL",
        "cells are sent as they are",
    ),
    Assumption(
        "notebook-cells",
        "A run's notebook can be downloaded, with its cells",
        "running a notebook",
        "it cannot be run in the newer API",
    ),
)

LOGS = (
    Assumption(
        "log", "The log of a run that has ended is a 200", "a job's output", "the result has no output"
    ),
    Assumption(
        "log-streams",
        "Both stdout and stderr are there",
        "a job's output",
        "the result leaves out the one that is missing, after asking for it again for some seconds",
    ),
    Assumption(
        "log-range",
        "A log answers `Range` with that part (206)",
        "following a log",
        "the whole log is read each time, and what is known already is left out",
    ),
    Assumption(
        "log-end",
        "A `Range` behind a log's end is a 416",
        "noticing that a log has not grown",
        "an empty answer is understood too",
    ),
    Assumption(
        "log-empty",
        "An empty log is a 200",
        "ending without asking again",
        "the result comes some seconds later",
    ),
    Assumption("log-file", "A log is a file (`Content-Disposition`)"),
    Assumption("log-tail", "`last_n_lines` leaves out all but a log's end"),
    Assumption(
        "workflow-errors",
        "Yeedu says why a run failed (`workflow/errors`)",
        "the text of the error; choosing a fallback cluster",
        "only the log is looked at",
    ),
)
