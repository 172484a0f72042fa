"""Everything a test may change or look into, in one object."""

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

    def reset(self) -> None:
        """Set every switch to its default, lift every fault, forget every request."""
        for name, value in Switches().model_dump().items():
            setattr(self.switches, name, value)
        self.faults.clear()
        self.journal.clear()
