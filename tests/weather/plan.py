"""What one sequence is to be: a call of the operator, the weather it meets, and how its attempts end.

A plan is drawn from a seed and nothing else. It can be written as one line of JSON, and read again.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Spell:
    """Switches that are otherwise for a while.

    Attributes:
        at: The request with which it begins, counted from 1.
        requests: It ends after so many,
        seconds: or after so long, whichever is first.
        switches: What they are.
    """

    at: int
    requests: int
    seconds: float
    switches: dict[str, Any]


@dataclass(frozen=True)
class Act:
    """Something that happens once.

    Attributes:
        at: The request with which it happens, counted from 1.
        what: A name of `mock_weather.ACTS`.
    """

    at: int
    what: str


@dataclass(frozen=True)
class Attempt:
    """One attempt of the flow run.

    Attributes:
        ends: How it is interrupted: `cancel`, `term` and `kill` (a process's signals), or empty.
        at: With which of its requests.
    """

    ends: str = ""
    at: int = 0


@dataclass(frozen=True)
class Plan:
    """One sequence.

    Attributes:
        seed: What it was drawn from.
        kind: `job` or `notebook`.
        generation: `v1`, `v1b` or `v2`.
        way: How the operator is called: `sync`, `async`, in a `task`, by the `ready`-made task, or in the
            main thread of a `process` of its own.
        is_tls: Whether Yeedu speaks TLS.
        program: How it ends: `well`, `badly` or `never` by itself.
        takes: Seconds it takes.
        lines: How many lines it prints besides its name.
        timeout_seconds: The operator's.
        retries: The flow's.
        parameters: What of the addresses the flow run's parameters show: `none`, `own`, or `both`, of which
            the first is of another definition.
        is_too_small: Whether its own cluster is, and another one is named.
        max_concurrency: The definition's; 0 for none.
        attempts: The last one is not interrupted, or the flow run is cancelled with it.
        switches: What is otherwise from the start.
        spells: What is otherwise for a while.
        faults: As `/_control/faults` takes them.
        acts: What happens once.
        clears: Seconds after which all of it is over.
    """

    seed: int
    kind: str = "job"
    generation: str = "v2"
    way: str = "sync"
    is_tls: bool = False
    program: str = "well"
    takes: float = 0.0
    lines: int = 0
    timeout_seconds: float | None = None
    retries: int = 0
    parameters: str = "own"
    is_too_small: bool = False
    max_concurrency: int = 0
    attempts: tuple[Attempt, ...] = (Attempt(),)
    switches: dict[str, Any] = field(default_factory=dict)
    spells: tuple[Spell, ...] = ()
    faults: tuple[dict[str, Any], ...] = ()
    acts: tuple[Act, ...] = ()
    clears: float = 60.0

    @property
    def is_fine(self) -> bool:
        """Whether nothing at all gets in the way of a result."""
        disturbed = self.switches or self.spells or self.faults or self.acts or self.is_too_small
        ends_well = self.program == "well" and self.timeout_seconds is None
        return ends_well and not disturbed and not any(one.ends for one in self.attempts)

    def __str__(self) -> str:
        plain = Plan(self.seed)
        told = {
            one.name: getattr(self, one.name)
            for one in dataclasses.fields(self)
            if one.name == "seed" or getattr(self, one.name) != getattr(plain, one.name)
        }
        return json.dumps(told, default=dataclasses.asdict)

    @classmethod
    def read(cls, text: str) -> Plan:
        """Return the plan that was written so."""
        told = json.loads(text)
        for name, kind in (("attempts", Attempt), ("spells", Spell), ("acts", Act)):
            if name in told:
                told[name] = tuple(kind(**one) for one in told[name])
        told["faults"] = tuple(told.get("faults", ()))
        return cls(**told)

    def smaller(self) -> Iterator[Plan]:
        """Return plans in which one thing is left out."""
        for name in ("spells", "faults", "acts"):
            several = getattr(self, name)
            for index in range(len(several)):
                yield dataclasses.replace(self, **{name: several[:index] + several[index + 1 :]})
        for name in self.switches:
            rest = {other: value for other, value in self.switches.items() if other != name}
            yield dataclasses.replace(self, switches=rest)
        for index in range(len(self.attempts) - 1):
            yield dataclasses.replace(self, attempts=self.attempts[:index] + self.attempts[index + 1 :])
        plain = {"is_tls": False, "retries": 0, "is_too_small": False, "max_concurrency": 0, "lines": 0}
        for name, value in plain.items():
            if getattr(self, name) != value:
                yield dataclasses.replace(self, **{name: value})
