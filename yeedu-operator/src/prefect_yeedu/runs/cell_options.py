"""How a notebook's cells are to be executed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.wire.notebook_parameters import check_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class CellOptions:
    """How a notebook's cells are to be executed.

    Attributes:
        parameters: Assigned to variables by a cell of their own: text, numbers, booleans, None, and lists and
            dicts of them, by variable name.
        allow_errors: Whether the notebook goes on after a cell that failed, as it does after those tagged
            `raises-exception`.
        timeout_seconds: How long a single cell may take before it is interrupted; None for ever.

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
