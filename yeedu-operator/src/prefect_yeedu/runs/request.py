"""The request for a run: arguments, settings and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.runs.cell_options import CellOptions
from prefect_yeedu.runs.record import Resume
from prefect_yeedu.runs.wait_options import WaitOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prefect_yeedu.models import Generation


@dataclass(frozen=True)
class RunRequest:
    """The arguments, Spark settings and options of a run.

    Attributes:
        arguments: The program's arguments as one text; None for the definition's own.
        conf: Spark settings, each `key=value`.
        generation: The server's API generation; None to find it out.
        ui_url: Base of links into Yeedu's user interface; None to derive it.
        options: Limits on waits, logs and outputs.
        cluster_ids: Clusters to try in order when resources run out on the definition's own.
        resume: What a later attempt of the same call does with the run of an earlier one.
        deferrable: Whether the caller may leave while a job's run goes on, and come back when it has ended.
        starts_cluster: Whether the definition's cluster is started when it does not run.
        parameters: Variables that an injected cell of a notebook assigns.
        allow_errors: Whether a notebook goes on after a failed cell.
        cell_timeout_seconds: How long a single cell of a notebook may take; None for no limit.

    Raises:
        YeeduConfigurationError: The parameters, or the cells' time limit, cannot be used.
    """

    arguments: str | None = None
    conf: tuple[str, ...] = ()
    generation: Generation | None = None
    ui_url: str | None = None
    options: WaitOptions = field(default_factory=WaitOptions)
    cluster_ids: tuple[int, ...] = ()
    resume: Resume = Resume.ON_CRASH
    deferrable: bool = False
    starts_cluster: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    allow_errors: bool = False
    cell_timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        _ = self.cell_options  # refuses what cannot be used

    @property
    def cell_options(self) -> CellOptions:
        """Options for the execution of a notebook's cells."""
        return CellOptions(self.parameters, self.allow_errors, self.cell_timeout_seconds)


def checked_conf(conf: Sequence[str]) -> tuple[str, ...]:
    """Return conf entries without those that a later one overrides.

    Raises:
        YeeduConfigurationError: An entry is not `key=value`.
    """
    entries: dict[str, str] = {}
    for entry in [conf] if isinstance(conf, str) else conf:
        key, separator, value = entry.partition("=")
        if not (separator and key.strip() and value.strip()):
            raise YeeduConfigurationError(
                f"The conf entry '{entry}' is not of the form key=value; correct it."
            )
        entries.pop(key.strip(), None)
        entries[key.strip()] = value.strip()
    return tuple(f"{key}={value}" for key, value in entries.items())
