"""Rules that make chosen requests fail."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"([!-~]([ -~\t]*[!-~])?)?")


class Fault(BaseModel):
    """One rule; the first that matches a request is applied to it."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(description="Regular expression searched in the path, such as `job/run$`.")
    method: str | None = Field(default=None, description="GET, POST, ..., WS for a websocket; None for any.")
    times: int | None = Field(default=1, ge=1, description="How many requests it applies to; null for ever.")
    skip: int = Field(default=0, ge=0, description="How many matching requests are let through first.")
    status: Annotated[int, Field(ge=400, le=599)] | Literal[200, 201] | None = Field(
        default=None, description="Answer this, and handle nothing."
    )
    body: Any = Field(default=None, description="The answer's JSON body; null for the usual error body.")
    text: str | None = Field(default=None, description="The answer's body as it is, which need not be JSON.")
    headers: dict[str, str] = Field(default_factory=dict, description="More headers of that answer.")
    page: Literal["html", "text"] | None = Field(
        default=None, description="The answer's body as a proxy writes it, without Yeedu's `error_code`."
    )
    delay_seconds: float = Field(default=0, ge=0, le=600, description="Wait so long before anything else.")
    drop: Literal["before", "after", "during"] | None = Field(
        default=None,
        description="Drop the connection before the request is handled, instead of its answer, or in it.",
    )
    drop_after_bytes: int = Field(
        default=1, ge=0, description="How much of the answer's body is sent before a drop `during` it."
    )

    @field_validator("path")
    @classmethod
    def _path_is_a_regular_expression(cls, path: str) -> str:
        try:
            re.compile(path)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return path

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r} cannot be sent; write it on one line and in ASCII")
        return headers

    def matches(self, method: str, path: str) -> bool:
        """Return whether the rule matches this request."""
        return (self.method is None or self.method.upper() == method) and re.search(
            self.path, path
        ) is not None


class Faults:
    """The rules in force, in the order they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a rule, after those in force."""
        self._faults.append(fault)

    def all(self) -> list[Fault]:
        """Return the rules that are still in force."""
        return list(self._faults)

    def clear(self) -> None:
        """Lift every rule."""
        self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the rule to apply to a request, and count it as applied once."""
        for fault in self._faults:
            if not fault.matches(method, path):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
            return fault
        return None
