"""The mock's behaviours that can be changed while it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Switches(BaseModel):
    """Behaviours, each with what Yeedu is believed to do as its default."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    select_again: bool = Field(
        default=False, description="Answer 201 when a session selects a tenant again, instead of 409."
    )
    tenant_required: bool = Field(
        default=True,
        description="Close workspace routes until a tenant is selected; else the user's first one counts.",
    )
    idempotent_stop: bool = Field(
        default=False, description="Answer 201 when a run that has ended is stopped, instead of 409."
    )
    expired_status: Literal[401, 440] = Field(
        default=401, description="What an unknown or expired token gets."
    )
    start_delay_seconds: float = Field(
        default=0, ge=0, le=3600, description="How long a run stays SUBMITTED."
    )
    start_by_hand: bool = Field(
        default=False, description="Keep runs SUBMITTED until /_control/runs/{id} says otherwise."
    )
    stop_delay_seconds: float = Field(default=0, ge=0, le=3600, description="How long a run stays STOPPING.")
    kernel_not_ready_answers: int = Field(
        default=0, ge=0, le=1000, description="How many kernel status answers say that it is not ready yet."
    )
    websocket_drop_after_messages: int | None = Field(
        default=None, ge=0, description="Drop a connection instead of sending the message after this many."
    )
    websocket_drops: int = Field(
        default=0, ge=0, le=1_000_000, description="How many connections are still to be dropped so."
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
