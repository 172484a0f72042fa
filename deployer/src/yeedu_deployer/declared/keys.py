"""Every key that prefect.yaml may have: what the parser accepts, and what an editor shows of it."""

from dataclasses import dataclass

from pydantic import JsonValue

TEMPLATE: JsonValue = {"type": "string", "pattern": r"\{\{.*\}\}"}
TEXT: JsonValue = {"type": ["string", "number"]}
SWITCH: JsonValue = {"anyOf": [{"type": "boolean"}, TEMPLATE]}
MAPPING: JsonValue = {"type": "object"}
TEXTS: JsonValue = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
STEPS: JsonValue = {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}


@dataclass(frozen=True)
class Key:
    """One key of a mapping.

    Attributes:
        schema: The JSON schema of its value, where an empty value is allowed besides.
        meaning: What an editor shows.
        required: Whether the mapping is wrong without it.
    """

    schema: JsonValue
    meaning: str
    required: bool = False


def _count(minimum: int) -> JsonValue:
    return {"anyOf": [{"type": "integer", "minimum": minimum}, TEMPLATE]}


def _reference(name: str) -> JsonValue:
    return {"$ref": f"#/$defs/{name}"}


def _list_of(name: str) -> JsonValue:
    return {"type": "array", "items": _reference(name)}


TOP_LEVEL = {
    "name": Key(TEXT, "The project's name. Only what was applied from a file of this name is ever pruned."),
    "prefect-version": Key(TEXT, "The version of Prefect that the file was written for."),
    "definitions": Key({}, "Anchors to be used below; nothing here has an effect of its own."),
    "pull": Key(STEPS, "How a run gets its code; at least one git_clone step."),
    "deployments": Key(_list_of("deployment"), "What is to be on the server.", required=True),
}
DEPLOYMENT = {
    "name": Key(TEXT, "The deployment's name, which may not contain '/' or '%'.", required=True),
    "version": Key(TEXT, "A version of your own."),
    "tags": Key(TEXTS, "Tags; catch-up:latest, catch-up:all or catch-up:skip says what missed runs become."),
    "description": Key(TEXT, "What the UI shows; by default the flow's docstring."),
    "schedules": Key(_list_of("schedule"), "When runs start."),
    "paused": Key(SWITCH, "Whether nothing is started; an operator's pause stays unless this is changed."),
    "concurrency_limit": Key(
        {"anyOf": [{"type": "integer", "minimum": 1}, TEMPLATE, _reference("concurrency_limit")]},
        "How many of its runs may be active at once.",
    ),
    "flow_name": Key(TEXT, "The flow's name, to be compared with the one in the code."),
    "entrypoint": Key(TEXT, "folder/file.py:function, relative to the repository.", required=True),
    "parameters": Key(MAPPING, "Values of the flow's parameters."),
    "enforce_parameter_schema": Key(SWITCH, "Whether parameters must fit the flow's types (default: true)."),
    "pull": Key(STEPS, "Instead of the file's own 'pull'."),
    "work_pool": Key(_reference("work_pool"), "Where it runs.", required=True),
    "triggers": Key(_list_of("trigger"), "Events that start a run; each becomes an automation."),
}
WORK_POOL = {
    "name": Key(TEXT, "The work pool's name.", required=True),
    "work_queue_name": Key(TEXT, "A queue of the pool (default: the pool's default queue)."),
    "job_variables": Key(MAPPING, "Overrides of the pool's job variables."),
}
CONCURRENCY = {
    "limit": Key(_count(1), "How many of its runs may be active at once.", required=True),
    "collision_strategy": Key(
        {"enum": ["ENQUEUE", "CANCEL_NEW"]}, "Whether a run above the limit waits or is cancelled."
    ),
    "grace_period_seconds": Key(_count(60), "How long a slot is kept for a run that is about to start."),
}
SCHEDULE = {
    "cron": Key(TEXT, "A cron expression, for example '*/5 * * * *'."),
    "interval": Key({"type": ["number", "string"]}, "Seconds from one run to the next."),
    "rrule": Key(TEXT, "An iCalendar recurrence rule, for example 'FREQ=DAILY'."),
    "timezone": Key(TEXT, "An IANA time zone (default: UTC)."),
    "day_or": Key(SWITCH, "For cron: whether day and weekday are alternatives (default: true)."),
    "anchor_date": Key(TEXT, "For an interval: a time from which it is counted."),
    "active": Key(SWITCH, "Whether it starts runs when it is first created; the operator's choice stays."),
    "parameters": Key(MAPPING, "Overrides of the deployment's parameters."),
    "slug": Key(TEXT, "The schedule's identity: keep it when you change the time."),
}
GIT_CLONE = {
    "repository": Key(TEXT, "The repository's URL; {{ $NAME }} is read on the worker.", required=True),
    "branch": Key(TEXT, "A branch or a tag (default: the repository's default branch)."),
    "commit_sha": Key(TEXT, "A commit, instead of a branch."),
    "include_submodules": Key(SWITCH, "Whether submodules are cloned too."),
    "access_token": Key(TEXT, "A token, as {{ prefect.blocks.secret.NAME }}."),
    "credentials": Key(TEXT, "A credentials block, as {{ prefect.blocks.github-credentials.NAME }}."),
    "directories": Key(TEXTS, "Only these folders."),
    "clone_directory_name": Key(TEXT, "The folder's name on the worker."),
    "id": Key(TEXT, "A name by which later steps refer to this one."),
    "requires": Key(TEXT, "Packages that the step needs."),
}
MAPPINGS = {
    "deployment": DEPLOYMENT,
    "work_pool": WORK_POOL,
    "concurrency_limit": CONCURRENCY,
    "schedule": SCHEDULE,
}
