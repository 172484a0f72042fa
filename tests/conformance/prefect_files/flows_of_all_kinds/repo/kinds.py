from __future__ import annotations

from typing import Annotated, Literal

from prefect import flow
from pydantic import Field


@flow(log_prints=True)
def parts(count: int = 2):
    for number in range(count):
        print(f"part {number}")
        yield number


@flow(log_prints=True, flow_run_name="of-{mode}")
def annotated(
    names: list[str],
    mode: Literal["fast", "slow"] = "fast",
    rows: Annotated[int, Field(ge=1, le=10, description="How many.")] = 1,
    *,
    dry_run: bool | None = None,
):
    """Say what was given.

    Args:
        names: Who.
        dry_run: Whether to do nothing.
    """
    print(names, mode, rows, dry_run)
