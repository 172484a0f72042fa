"""The bodies of requests to `/_control/*`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from yeedu_mock.state.enums import ClusterStatus, RunStatus
from yeedu_mock.state.seeds import DEMO_TENANT


class NewJob(BaseModel):
    """A job to add."""

    model_config = ConfigDict(extra="forbid")

    program: str
    name: str = "test-job"
    language: str = "Python3"
    workspace_id: int = 1
    cluster_id: int | None = None


class NewNotebook(BaseModel):
    """A notebook to add: the code of its cells, or whole cells."""

    model_config = ConfigDict(extra="forbid")

    cells: list[str | dict[str, Any]]
    name: str = "test-notebook"
    language: str = "Python3"
    workspace_id: int = 1
    cluster_id: int | None = None


class NewUser(BaseModel):
    """A user to add."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1)
    password: str = Field(min_length=1, repr=False)
    tenants: list[str] = Field(min_length=1)
    is_admin: bool = False


class NewGroup(BaseModel):
    """A group of users to add."""

    model_config = ConfigDict(extra="forbid")

    groupname: str = Field(min_length=1)
    tenant: str = DEMO_TENANT
    usernames: list[str] = Field(default_factory=list)


class ChangedCluster(BaseModel):
    """What to change in a cluster."""

    model_config = ConfigDict(extra="forbid")

    is_too_small: bool | None = Field(default=None, description="Whether all that starts on it lacks memory.")
    status: ClusterStatus | None = Field(default=None, description="Its state; its runs end unless RUNNING.")


class NewState(BaseModel):
    """The state to set for a run."""

    model_config = ConfigDict(extra="forbid")

    status: Literal[
        RunStatus.RUNNING, RunStatus.DONE, RunStatus.ERROR, RunStatus.TERMINATED, RunStatus.STOPPED
    ]
    error: str | None = Field(default=None, description="Added to the run's workflow errors.")


class FunctionCall(BaseModel):
    """A call of a function."""

    model_config = ConfigDict(extra="forbid")

    payload: Any = None
