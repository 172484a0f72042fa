"""What the operator takes for granted of runs while they run, which only running something can show."""

from __future__ import annotations

from contract.assumptions import DEFINITIONS, ERRORS, LISTS, LOGS, RUNS, SESSIONS, Assumption

IS_SUCCESS = "nothing; it is taken for success, as 201 is"

JOB = (
    Assumption(
        "submit", "A job is started by one call, which names the run", "every run", "no job can be run"
    ),
    Assumption(
        "submit-prompt",
        "That call is answered within 5 s",
        "knowing soon that there is a run",
        "the flow waits for it for minutes rather than start a second run",
    ),
    Assumption(
        "submit-read",
        "The new run can be read at once",
        "waiting for it",
        "that it is unknown at first is waited out",
    ),
    Assumption(
        "submit-listed",
        "The new run is in the list at once",
        "starting no second run after an answer was lost",
        "the list is asked again for some seconds",
    ),
    Assumption(
        "submit-conf",
        "The new run shows the conf entry that it was started with",
        "finding the run of an attempt that was killed",
        "such a run is not found, and the flow says that it is not known whether there is one",
    ),
    Assumption("stop", "Stopping a running job is a 201", "cancelling", "200 is understood too"),
    Assumption(
        "stop-prompt",
        "A job that is stopped has ended within 20 s",
        "confirming a stop while Prefect still waits for the flow's end",
        "the stop stays unconfirmed on the record, and the rescue looks again",
    ),
    Assumption(
        "stop-state",
        "A job that is stopped ends as STOPPED",
        "telling a stop from a failure",
        "KILLED is known too",
    ),
    Assumption(
        "stop-again",
        "Stopping a job that has ended is a 409",
        IS_SUCCESS,
    ),
)

NOTEBOOK = (
    Assumption(
        "nb-submit", "A notebook is started by one call, which names the run", "every run", "none can be run"
    ),
    Assumption(
        "kernel-ready",
        "The kernel of a running notebook is ready at the first question",
        "sending cells soon",
        "it is asked until it is ready",
    ),
    Assumption("kernel-answer", "`kernel/ws` is answered with content"),
    Assumption(
        "token-in-path",
        "The websocket takes the token in its path",
        "running a notebook",
        "no notebook can be run",
    ),
    Assumption("token-in-header", "The websocket takes the token in a header"),
    Assumption(
        "cell-ends",
        "A cell's reply and its `idle` both come",
        "knowing that a cell has ended",
        "the kernel is asked whether it still works on it",
    ),
    Assumption("cell-order", "A cell's `idle` comes after its reply"),
    Assumption("message-once", "Every message comes once", "a cell's output", "a second one is left out"),
    Assumption(
        "kernel-stays",
        "A kernel outlives its websocket",
        "going on after the connection was lost",
        "the notebook fails when the connection is lost",
    ),
    Assumption(
        "kernel-keeps",
        "Messages are kept while nobody is connected",
        "the whole output after the connection was lost",
        "the output of that time is lost; how the cell ended is asked of the kernel",
    ),
    Assumption(
        "kill", "Killing a running notebook is a 201", "the end of every notebook", "200 is understood too"
    ),
    Assumption(
        "kill-prompt",
        "A notebook that is killed has ended within 20 s",
        "confirming a stop while Prefect still waits for the flow's end",
        "the stop stays unconfirmed on the record, and the rescue looks again",
    ),
    Assumption("kill-state", "A notebook that is killed ends as STOPPED", "nothing; its cells decide"),
    Assumption("kill-again", "Killing a notebook that has ended is a 409", IS_SUCCESS),
    Assumption("close-code", "The websocket is closed with 1000 when its kernel ends"),
)

SECTIONS = {
    "Sessions": SESSIONS,
    "Errors": ERRORS,
    "APIs and lists": LISTS,
    "What runs show": RUNS,
    "Jobs and notebooks": DEFINITIONS,
    "Logs": LOGS,
    "A job's run": JOB,
    "A notebook's run": NOTEBOOK,
}
ASSUMPTIONS = {one.key: one for rows in SECTIONS.values() for one in rows}
