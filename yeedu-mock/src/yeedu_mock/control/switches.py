"""The mock's switches: one for each behaviour of Yeedu that nobody outside Yeedu knows.

A switch's default is what Yeedu is believed to do, or what its published clients can handle.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

RunField = Literal[
    "conf",
    "arguments",
    "created_at",
    "created_by",
    "cluster_id",
    "application_id",
    "exit_code",
    "start_time",
    "end_time",
    "execution_time_sec",
    "is_background",
    "job_conf",
    "workspace_id",
]


class SwitchError(ValueError):
    """There is no such switch, or not with this value; the message is one sentence that names it."""


class Switches(BaseModel):
    """The switches; each defaults to what Yeedu is believed to do."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, strict=True)

    # Sessions.
    select_again: bool = Field(
        default=False, description="Answer 201 when a session selects a tenant again, instead of 409."
    )
    tenant_required: bool = Field(
        default=True,
        description="Close workspace routes until a tenant is selected; else the user's first one counts.",
    )
    expired_status: Literal[401, 440] = Field(
        default=401, description="What an unknown or expired token gets."
    )
    bare_answers: bool = Field(
        default=False, description="Answer `{}` to `user/select` and to `GET kernel/ws`."
    )

    # How runs and definitions are shown.
    run_fields_hidden: list[RunField] = Field(
        default_factory=list[RunField], description="Fields that run objects do not have."
    )
    list_order: Literal["newest_first", "oldest_first"] = Field(
        default="newest_first", description="The order of lists of runs."
    )
    empty_list_status: Literal[200, 404] = Field(
        default=200, description="What a list of runs, jobs or notebooks gets that would be empty (v2)."
    )
    replica_lag_seconds: float = Field(
        default=0, ge=0, le=600, description="How long a new run is unknown and in no list."
    )
    coinciding_ids: bool = Field(
        default=False,
        description="Give new notebooks the ids of jobs, and runs of the one those of the other.",
    )
    not_found_status: Literal[400, 403, 404, 410] = Field(default=404, description="What an unknown id gets.")
    edit_status: Literal[200, 201] = Field(
        default=200, description="What a PUT of a job or notebook is answered with."
    )

    # How runs start.
    submission_seconds: float = Field(
        default=0, ge=0, le=600, description="How long the POST of a run takes to be answered."
    )
    submission_shows_run: bool = Field(
        default=True, description="Whether the run is there while its POST is still unanswered."
    )
    accepts_abandoned: bool = Field(
        default=True, description="Start a run though its client gave up on the unanswered POST."
    )
    stopped_cluster: Literal["refuse", "start", "ignore"] = Field(
        default="refuse",
        description="What the POST of a run does about a STOPPED cluster; `start` waits until it is RUNNING.",
    )
    cluster_start_seconds: float = Field(
        default=0, ge=0, le=600, description="How long a cluster that is started stays INITIATING."
    )
    max_concurrency: Literal["refuse", "queue", "ignore"] = Field(
        default="refuse", description="What becomes of runs beyond a definition's `max_concurrency`."
    )
    refusal_status: Literal[400, 403, 409, 422] = Field(
        default=409, description="What a run gets that is refused for now."
    )
    start_delay_seconds: float = Field(
        default=0, ge=0, le=3600, description="How long a run stays SUBMITTED."
    )
    start_by_hand: bool = Field(
        default=False, description="Keep runs SUBMITTED until /_control/runs/{id} says otherwise."
    )

    # How runs end.
    idempotent_stop: bool = Field(
        default=False, description="Answer 201 when a run that has ended is stopped, instead of 409."
    )
    stop_delay_seconds: float = Field(default=0, ge=0, le=3600, description="How long a run stays STOPPING.")
    stopped_job_status: Literal["STOPPED", "KILLED"] = Field(
        default="STOPPED", description="How a job ends that is stopped."
    )
    stopped_notebook_status: Literal["STOPPED", "KILLED", "DONE"] = Field(
        default="STOPPED", description="How a notebook ends that is killed."
    )
    lost_cluster_status: Literal["TERMINATED", "ERROR"] = Field(
        default="TERMINATED", description="How runs end whose cluster is stopped or destroyed."
    )
    dead_kernel_status: Literal["ERROR", "TERMINATED"] = Field(
        default="ERROR", description="How a notebook ends whose kernel dies."
    )

    # Logs.
    log_ranges: bool = Field(default=True, description="Answer `Range` with that part; else with the whole.")
    log_limit_bytes: int | None = Field(
        default=None, ge=1, description="Keep so many bytes of a log's end; null keeps all."
    )
    logs_missing: list[Literal["stdout", "stderr"]] = Field(
        default_factory=list[Literal["stdout", "stderr"]], description="Logs that are a 404."
    )
    empty_log_status: Literal[200, 404] = Field(
        default=200, description="What a log gets that nothing was written to."
    )

    # Kernels and their websockets.
    kernel_not_ready_answers: int = Field(
        default=0, ge=0, le=1000, description="How many kernel status answers say that it is not ready yet."
    )
    kernel_survives_disconnect: bool = Field(
        default=True, description="Keep a kernel alive whose last websocket has gone."
    )
    websocket_token_in_header: bool = Field(
        default=False, description="Serve `kernel/ws` as a websocket whose token is in `Authorization`."
    )
    websocket_close_code: Literal[1000, 1001, 1008, 1011, 1012, 4000] = Field(
        default=1000, description="The code with which a websocket is closed when its kernel has ended."
    )
    websocket_drop_after_messages: int | None = Field(
        default=None, ge=0, description="Drop a connection instead of sending the message after this many."
    )
    websocket_drops: int = Field(
        default=0, ge=0, le=1_000_000, description="How many connections are still to be dropped so."
    )
    websocket_delay_seconds: float = Field(
        default=0, ge=0, le=60, description="How long each message takes to be sent."
    )
    websocket_lose_every: int | None = Field(
        default=None, ge=2, description="Lose every so manieth message of a connection."
    )
    websocket_swallow: list[str] = Field(
        default_factory=list, description="Message types that are lost on their way to the client."
    )
    websocket_duplicates: bool = Field(default=False, description="Send every message twice.")
    websocket_order: Literal["as_published", "reply_first", "idle_first"] = Field(
        default="as_published", description="Whether a cell's reply goes before its idle."
    )
    websocket_buffers: bool = Field(
        default=False, description="Keep messages while no connection is open, for the next one."
    )

    # What is between the client and Yeedu.
    generation: Literal["all", "v1", "v2"] = Field(
        default="all", description="Which generation's routes for jobs, notebooks and runs are served."
    )
    unknown_route_status: Literal[400, 404, 405] = Field(
        default=404, description="What the routes of the other generation get."
    )
    gateway_status: Literal[404, 405, 502, 503, 504] | None = Field(
        default=None, description="Answer every call of the API so, with a proxy's page; null answers them."
    )
    gateway_page: Literal["html", "text", "json"] = Field(
        default="html", description="The body of those two; `json` is Yeedu's own, with its `error_code`."
    )
    requests_per_second: int | None = Field(
        default=None, ge=1, description="Answer 429 with `Retry-After` to the calls of a second beyond these."
    )
    connections_to_drop: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="How many new connections are still to be dropped; over TLS that is in the handshake.",
    )
    connection_end: Literal["closed", "reset"] = Field(
        default="closed", description="Whether those are closed in order or reset."
    )

    def changed(self, changes: Mapping[str, Any]) -> Switches:
        """Return these switches with some of them changed.

        Raises:
            SwitchError: There is no such switch, or it cannot have that value.
        """
        try:
            return Switches.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            raise SwitchError(_sentence(error)) from error

    def take_over(self, others: Switches) -> None:
        """Set every switch to its value in `others`, in place: whoever holds this object sees the change."""
        for name in Switches.model_fields:
            setattr(self, name, getattr(others, name))


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, Switches.model_fields, 1)
        meant = f"did you mean {near[0]}?" if near else "GET /_control/switches lists those there are."
        return f"There is no switch {name!r}; {meant}"
    given = repr(first["input"])
    shown = given if len(given) <= 60 else f"{given[:57]}..."
    return f"The switch {name} {first['msg'].replace('Input should', 'must', 1)}, not {shown}."
