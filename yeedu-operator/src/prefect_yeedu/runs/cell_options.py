"""Options for the execution of a notebook's cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.models import RunKind
from prefect_yeedu.wire.notebook_parameters import check_parameters, parameters_code
from prefect_yeedu.wire.responses import object_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefect_yeedu.client.api import RunAPI


@dataclass(frozen=True)
class CellOptions:
    """How a notebook's cells are to be executed.

    Attributes:
        parameters: Values that an injected cell assigns, by variable name: text, numbers, booleans, None, and
            lists and dicts of them.
        allow_errors: Whether the notebook goes on after a failed cell, as it does after those tagged
            `raises-exception`.
        timeout_seconds: How long a single cell may take before it is interrupted; None for no limit.

    Raises:
        YeeduConfigurationError: One of them cannot be used.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    allow_errors: bool = False
    timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        check_parameters(self.parameters)
        if self.timeout_seconds is not None and not self.timeout_seconds > 0:
            raise YeeduConfigurationError(
                f"cell_timeout_seconds is {self.timeout_seconds:g}, but a limit is more than 0 seconds; "
                "leave it out to let cells take as long as they need."
            )

    def check_for(self, api: RunAPI, definition_id: int) -> None:
        """Check that a definition can be run like this; ask Yeedu for a notebook's language if it matters.

        Raises:
            YeeduConfigurationError: It is a job, or the notebook's language does not support parameters.
        """
        if api.kind is RunKind.JOB and self != CellOptions():
            raise YeeduConfigurationError(
                "parameters, allow_errors and cell_timeout_seconds are for notebooks, and this is a job; "
                "leave them out, and give a job arguments or conf."
            )
        if self.parameters:
            definition = api.definition(definition_id)
            parameters_code(self.parameters, text_of(object_of(definition, "spark_job_type"), "language"))
