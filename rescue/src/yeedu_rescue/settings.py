"""Reads the settings of the service from its environment."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from yeedu_rescue.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PORT = 65535
HEARTBEAT_SECONDS = 30  # PREFECT_FLOWS_HEARTBEAT_FREQUENCY of the platform's workers, and Prefect's minimum


@dataclass(frozen=True)
class Settings:
    """The settings of the service.

    Attributes:
        api_url: The server's API, without a slash at the end.
        auth_string: ``user:password``, or empty if the server requires no login.
        interval_seconds: The pause between two passes.
        heartbeat_seconds: A RUNNING run without a heartbeat for this long counts as dead.
        pending_seconds: The process of a run that is PENDING for this long counts as never started.
        attempts: How often a run that did not start goes back to its queue.
        worker_seconds: The record of a worker that is offline for this long is deleted; 0 keeps all of them.
        port: The port of the status page on the loopback interface.
        api_key: The server's API key; empty if it requires none.
        work_pools: The work pools that this service covers; empty for everything on the server.
    """

    api_url: str
    auth_string: str = ""
    interval_seconds: float = 5.0
    heartbeat_seconds: float = 90.0
    pending_seconds: float = 180.0
    attempts: int = 3
    worker_seconds: float = 86400.0
    port: int = 8082
    api_key: str = ""
    work_pools: tuple[str, ...] = ()

    @property
    def scope(self) -> dict[str, Any]:
        """The server-side filter that limits everything to the work pools that this service covers."""
        return {"work_pools": {"name": {"any_": list(self.work_pools)}}} if self.work_pools else {}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read ``PREFECT_API_URL``, ``PREFECT_API_AUTH_STRING``, ``PREFECT_API_KEY`` and ``RESCUE_*``.

        Raises:
            SettingError: One is missing or cannot be used.
        """
        api_url = environment.get("PREFECT_API_URL", "").rstrip("/")
        if not api_url.startswith(("http://", "https://")):
            raise SettingError(
                f"PREFECT_API_URL={api_url!r} is not an address; "
                f"set it to the server's API, for example http://server:4200/api"
            )
        numbers = {
            field.name: number
            for field in fields(cls)
            if field.name not in {"api_url", "auth_string", "api_key", "work_pools"}
            and (number := _number(environment, f"RESCUE_{field.name.upper()}")) is not None
        }
        if "heartbeat_seconds" in numbers and numbers["heartbeat_seconds"] < 2 * HEARTBEAT_SECONDS:
            raise SettingError(
                f"RESCUE_HEARTBEAT_SECONDS={numbers['heartbeat_seconds']:g} is too short: runs send a "
                f"heartbeat every {HEARTBEAT_SECONDS} s, so set it to {2 * HEARTBEAT_SECONDS} or more"
            )
        whole = {name: int(number) for name, number in numbers.items() if name in {"attempts", "port"}}
        seconds = {name: number for name, number in numbers.items() if name not in whole}
        pools = (name.strip() for name in environment.get("RESCUE_WORK_POOLS", "").split(","))
        return cls(
            api_url,
            environment.get("PREFECT_API_AUTH_STRING", ""),
            **seconds,
            **whole,  # pyright: ignore[reportArgumentType]
            api_key=environment.get("PREFECT_API_KEY", ""),
            work_pools=tuple(name for name in pools if name),
        )


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name, "")
    if not text:
        return None
    is_whole = name in {"RESCUE_ATTEMPTS", "RESCUE_PORT"}
    try:
        number = int(text) if is_whole else float(text)
    except ValueError:
        number = -1
    zero_is_meant = name in {"RESCUE_WORKER_SECONDS", "RESCUE_ATTEMPTS"}
    if not (0 < number < 1e9 or (number == 0 and zero_is_meant)):
        what = "a whole number" if is_whole else "a number of seconds"
        raise SettingError(f"{name}={text!r} is not {what} {'from' if zero_is_meant else 'above'} 0")
    if name == "RESCUE_PORT" and number > _MAX_PORT:
        raise SettingError(f"{name}={text!r} is no port: the highest is {_MAX_PORT}")
    return number
