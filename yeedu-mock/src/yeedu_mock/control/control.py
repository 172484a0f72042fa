"""Everything that a test can change or inspect, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field

from yeedu_mock.control.faults import Faults
from yeedu_mock.control.journal import Journal
from yeedu_mock.control.switches import Switches


@dataclass
class Control:
    """The switches, faults and journal of one mock."""

    switches: Switches = field(default_factory=Switches)
    faults: Faults = field(default_factory=Faults)
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        self._at_the_start = self.switches.model_copy(deep=True)

    def reset_switches(self) -> None:
        """Set every switch to its value at the start."""
        self.switches.take_over(self._at_the_start.model_copy(deep=True))

    def reset(self) -> None:
        """Set every switch to its value at the start, lift every fault, and clear the journal."""
        self.reset_switches()
        self.faults.clear()
        self.journal.clear()
