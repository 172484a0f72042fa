"""The enumerations of the API: states, types, languages, permissions."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class RunStatus(StrEnum):
    """The states of a run, as the API spells them."""

    SUBMITTED = "SUBMITTED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    ERROR = "ERROR"
    TERMINATED = "TERMINATED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    KILLED = "KILLED"  # only the operators know it; a switch makes runs end with it

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self not in {RunStatus.SUBMITTED, RunStatus.RUNNING, RunStatus.STOPPING}


class ClusterStatus(StrEnum):
    """The states of a cluster, as the API spells them."""

    INITIATING = "INITIATING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    DESTROYING = "DESTROYING"
    DESTROYED = "DESTROYED"
    ERROR = "ERROR"
    RESIZING_UP = "RESIZING_UP"
    RESIZING_DOWN = "RESIZING_DOWN"


class JobType(StrEnum):
    """The types of jobs, as the API spells them; a notebook counts as one."""

    SPARK_JOB = "SPARK_JOB"
    JAR = "JAR"
    SPARK_SQL = "SPARK_SQL"
    THRIFT_SQL = "THRIFT_SQL"
    YEEDU_FUNCTIONS = "YEEDU_FUNCTIONS"
    NOTEBOOK = "NOTEBOOK"

    @property
    def display_name(self) -> str:
        """The name in the user interface, by which some clients filter."""
        return JOB_TYPE_NAMES[self]

    @classmethod
    def of(cls, name: str) -> str:
        """Return the type with this display name; any other name is returned unchanged."""
        return next((one for one in cls if name.casefold() == one.display_name.casefold()), name)


JOB_TYPE_NAMES = {
    JobType.SPARK_JOB: "Custom Code",
    JobType.JAR: "JAR",
    JobType.SPARK_SQL: "Spark SQL",
    JobType.THRIFT_SQL: "Thrift SQL",
    JobType.YEEDU_FUNCTIONS: "Functions",
    JobType.NOTEBOOK: "Notebook",
}
LANGUAGE_NAMES = {
    "raw scala": "RAW_SCALA",
    "pyspark": "Python3",
    "python": "Python3",
    "spark sql": "SQL",
    "thrift sql": "SQL",
}


class WorkspacePermission(IntEnum):
    """What someone may do in a workspace; each includes the lesser ones. The value is the `permission_id`."""

    VIEW = 1
    RUN = 2
    EDIT = 3
    MANAGE = 4
