"""The records that the mock keeps, one class per kind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from yeedu_mock.state.enums import ClusterStatus, JobType, RunStatus, WorkspacePermission

type_of_run = Literal["job", "notebook"]


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


class Record(BaseModel):
    """Anything the store keeps.

    An `id` is unique across all kinds, so that mixed-up ids find nothing, unless a switch makes those of jobs
    and notebooks coincide. The `key`, which nobody outside the mock sees, is always unique.
    """

    kind: ClassVar[str]

    id: int = Field(default=0, description="Set by the store when the record is added.")
    key: int = Field(default=0, description="Set by the store; the id, where that is unique.")
    created_at: datetime = Field(default_factory=now)
    modified_at: datetime = Field(default_factory=now)


class Tenant(Record):
    """A tenant; the API names it by its UUID."""

    kind: ClassVar[str] = "tenant"

    uuid: str
    name: str


class User(Record):
    """Someone who can log in."""

    kind: ClassVar[str] = "user"

    username: str
    password_hash: str = Field(repr=False)
    tenants: list[str] = Field(default_factory=list, description="UUIDs of the tenants the user may select.")
    is_admin: bool = False


class Group(Record):
    """Users of one tenant who are given access together."""

    kind: ClassVar[str] = "group"

    tenant: str
    name: str
    members: list[int] = Field(default_factory=list[int], description="The users' ids.")


class Session(Record):
    """One login; only the hash of its token is kept."""

    kind: ClassVar[str] = "session"

    token_hash: str = Field(repr=False)
    user_id: int
    tenant: str | None = None
    expires_at: datetime | None = None
    description: str | None = Field(default=None, description="Set for personal tokens.")


class Workspace(Record):
    """A workspace of one tenant."""

    kind: ClassVar[str] = "workspace"

    tenant: str
    name: str
    description: str = ""
    is_enabled: bool = True
    created_by: str = ""
    is_open: bool = Field(
        default=True, description="Whether all of its tenant may manage it, until someone is given access."
    )


class WorkspaceAccess(Record):
    """One permission of a user or a group in a workspace."""

    kind: ClassVar[str] = "workspace_access"

    workspace_id: int
    permission: WorkspacePermission
    user_id: int | None = None
    group_id: int | None = None


class WorkspaceFile(Record):
    """A file or folder of a workspace; a file's bytes are kept under its id."""

    kind: ClassVar[str] = "workspace_file"

    workspace_id: int
    path: str = Field(description="Absolute, with `/` between its parts.")
    is_folder: bool = False
    size_bytes: int = 0
    created_by: str = ""
    notebook_id: int | None = Field(default=None, description="Set where it stands for a notebook's content.")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class ClusterConf(Record):
    """The configuration of clusters: a machine type and its settings."""

    kind: ClassVar[str] = "cluster_conf"

    tenant: str
    name: str
    machine_type_id: int
    created_by: str = ""
    settings: dict[str, Any] = Field(default_factory=dict, description="Fields a client sent, echoed back.")


class ClusterEvent(BaseModel):
    """A state that a cluster has entered."""

    status: ClusterStatus
    at: datetime = Field(default_factory=now)


class Cluster(Record):
    """A cluster that definitions can be bound to."""

    kind: ClassVar[str] = "cluster"

    tenant: str
    name: str
    status: ClusterStatus = ClusterStatus.RUNNING
    is_enabled: bool = True
    is_too_small: bool = Field(default=False, description="Whether all that runs on it runs out of memory.")
    conf_id: int | None = Field(default=None, description="The cluster configuration it is made after.")
    created_by: str = ""
    modified_by: str = ""
    settings: dict[str, Any] = Field(default_factory=dict, description="Fields a client sent, echoed back.")
    events: list[ClusterEvent] = Field(default_factory=list[ClusterEvent], description="The oldest first.")


class WorkspaceCluster(Record):
    """A cluster that a workspace has been given."""

    kind: ClassVar[str] = "workspace_cluster"

    workspace_id: int
    cluster_id: int


class Definition(Record):
    """What a job and a notebook definition have in common."""

    workspace_id: int
    name: str
    cluster_id: int | None = None
    arguments: str | None = None
    conf: list[str] = Field(default_factory=list)
    language: str = "Python3"
    is_enabled: bool = True
    created_by: str = ""
    modified_by: str = ""
    settings: dict[str, Any] = Field(default_factory=dict, description="Fields a client sent, echoed back.")

    @property
    def max_concurrency(self) -> int:
        """The maximum number of concurrent runs; 0 for any number."""
        limit = self.settings.get("max_concurrency")
        return limit if isinstance(limit, int) and limit > 0 else 0


class JobDefinition(Definition):
    """A job: a Python or shell program kept as text."""

    kind: ClassVar[str] = "job"

    job_type: str = JobType.SPARK_JOB
    program: str
    is_command: bool = Field(default=False, description="Whether it is a `job_command`, for a shell.")


class NotebookDefinition(Definition):
    """A notebook: its nbformat 4 content."""

    kind: ClassVar[str] = "notebook"

    content: dict[str, Any]


class RunState(BaseModel):
    """A state that a run has entered."""

    status: RunStatus
    at: datetime = Field(default_factory=now)


class Run(Record):
    """One execution of a definition."""

    kind: ClassVar[str] = "run"

    type: type_of_run
    definition_id: int
    definition_key: int = 0
    definition_name: str
    workspace_id: int
    tenant: str
    cluster_id: int | None = None
    status: RunStatus = RunStatus.SUBMITTED
    arguments: str | None = None
    conf: list[str] = Field(default_factory=list)
    is_background: bool = True
    created_by: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    states: list[RunState] = Field(default_factory=list[RunState], description="The first one first.")
    exit_code: int | None = None
    errors: list[str] = Field(default_factory=list, description="What `workflow/errors` answers.")
    notebook: dict[str, Any] | None = Field(default=None, description="The run's own copy of the notebook.")

    @model_validator(mode="after")
    def _knows_what_it_is_of(self) -> Self:
        self.definition_key = self.definition_key or self.definition_id
        return self

    @property
    def application_id(self) -> str:
        """The id under which a Spark master would list the run."""
        return f"app-{self.created_at:%Y%m%d%H%M%S}-{self.id:04d}"

    @property
    def duration_seconds(self) -> float:
        """Seconds between start and end (or now)."""
        if self.started_at is None:
            return 0.0
        return ((self.ended_at or now()) - self.started_at).total_seconds()
