"""A day of the platform's own deployments, compressed: their five-minute schedules tick every few seconds."""

import os
import time
from datetime import UTC, datetime

from tests.platforms import ComposePlatform

HOURS = float(os.environ.get("ENDURANCE_HOURS", "24"))
TICK_SECONDS = float(os.environ.get("ENDURANCE_TICK_SECONDS", "8"))
SCALE = 300 / TICK_SECONDS
TICKS = round(HOURS * 12)
RETENTION_HOURS = HOURS / 4
WARM_UP_HOURS = HOURS / 2
_LEAD_SECONDS = 90  # Prefect makes the flow runs of a schedule that was changed within a minute
_MIN_RETENTION_SECONDS = 3601  # Prefect takes no flow run that ended within the last hour

OVERLAY = f"""
services:
  server:
    environment:
      PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS: "{3600 / SCALE * HOURS / 24}"
      PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_RECYCLE: "{3600 / SCALE:.0f}"
"""


class Day(ComposePlatform):
    """The platform with clocks that run faster: of schedules, and of what is kept for a while."""

    began = ends = 0.0
    runs = 0
    _containers: dict[str, str] | None = None

    def prepare(self) -> None:
        """Write the overlay and the settings before the platform starts."""
        (self.checkout / "docker-compose.override.yaml").write_text(OVERLAY, encoding="utf-8")
        self.environment |= {
            "EVENT_RETENTION_SECONDS": f"{RETENTION_HOURS * 3600 / SCALE:.0f}",
            "RETENTION_SECONDS": f"{_MIN_RETENTION_SECONDS}",
        }

    def begin(self) -> set[str]:
        """Let every schedule that is on tick at the day's pace, and return their deployments' ids."""
        self.began = time.time() + _LEAD_SECONDS
        self.ends = self.began + HOURS * 3600 / SCALE
        anchor = datetime.fromtimestamp(self.began, UTC).isoformat()
        schedule = {"interval": TICK_SECONDS, "anchor_date": anchor, "timezone": "UTC"}
        ticking: set[str] = set()
        for deployment in self.api.deployments().values():
            for found in deployment["schedules"]:
                if found["active"]:
                    path = f"deployments/{deployment['id']}/schedules/{found['id']}"
                    self.api.patch(path, {"schedule": schedule})
                    ticking.add(deployment["id"])
        self.runs = len(ticking) * TICKS
        return ticking

    def is_on(self) -> bool:
        """Whether the day is not over."""
        return time.time() < self.ends

    def hours(self) -> float:
        """Return how many hours of the day have gone by."""
        return (time.time() - self.began) * SCALE / 3600

    def age(self) -> None:
        """Give the flow runs that are to go the age at which Prefect lets them go."""
        least, kept = (
            f"interval '{seconds} s'" for seconds in (_MIN_RETENTION_SECONDS, RETENTION_HOURS * 3600 / SCALE)
        )
        self.sql(
            f"UPDATE flow_run SET end_time = end_time - {least}"
            f" WHERE end_time BETWEEN now() - {least} AND now() - {kept}"
        )

    def inside(self, service: str, *command: str) -> str:
        """Do the same without Compose, which takes longer to start than what it would run."""
        return self.must("docker", "exec", self.containers[service], *command)

    @property
    def containers(self) -> dict[str, str]:
        """The ids of the running containers by their services."""
        if not self._containers:
            listing = self.must("docker", "compose", "ps", "--format", "{{.Service}} {{.ID}}")
            self._containers = dict(line.split() for line in listing.splitlines())
        return self._containers
