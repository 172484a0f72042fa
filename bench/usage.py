"""What a worker or a service has used so far."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What processes use, ended ones included.

    Attributes:
        cpu_seconds: Since they started.
        memory_bytes: Now; pages that processes share count once.
    """

    cpu_seconds: float
    memory_bytes: int
