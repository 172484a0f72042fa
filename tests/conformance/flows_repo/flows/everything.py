import datetime as dt
import enum
from typing import Any

from prefect import flow
from pydantic import BaseModel, Field


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Table(BaseModel):
    name: str
    columns: list[str] = Field(default_factory=list)


@flow(log_prints=True)
def everything(
    text: str = "",
    number: int = 0,
    ratio: float = 0.5,
    enabled: bool = False,
    day: dt.date | None = None,
    moment: dt.datetime | None = None,
    level: Level = Level.LOW,
    table: Table | None = None,
    items: list[Any] | None = None,
    mapping: dict[str, Any] | None = None,
    nothing: str | None = None,
):
    """Take a parameter of each kind.

    Args:
        text: A text.
        number: A whole number.
    """
    for name, value in sorted(locals().items()):
        print(f"{name}={value!r}")
