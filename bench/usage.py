"""Holds what a worker or a service has used so far."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """The usage of processes, including ended ones.

    Attributes:
        cpu_seconds: Processor time since they started.
        memory_bytes: Current memory; pages that processes share count once.
    """

    cpu_seconds: float
    memory_bytes: int
