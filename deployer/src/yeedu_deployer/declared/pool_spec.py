"""work-pools.yaml: the work pools that the deployments run on, since prefect.yaml has no place for them."""

from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from yeedu_deployer.declared.validation import (
    Count,
    Declared,
    Name,
    Text,
    Values,
    check_unique,
    problem,
    read_model,
)
from yeedu_deployer.declared.yaml_marks import locate

PROCESS, DOCKER = "process", "docker"
POOL_TYPES = (PROCESS, DOCKER)


@dataclass(frozen=True)
class PoolSpec:
    """One work pool.

    Attributes:
        name: The pool's name.
        type: The kind of its workers, one of `POOL_TYPES`.
        description: What the UI shows.
        concurrency_limit: How many of its runs may be active at once; `None` means no limit.
        job_variables: Defaults put into the pool's base job template.
        is_shared: Whether it is another's to change: it is made where it is missing, and else left as it is.
    """

    name: str
    type: str
    line: int
    description: str | None = None
    concurrency_limit: int | None = None
    job_variables: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    is_shared: bool = False


def _type(kind: str) -> str:
    if kind not in POOL_TYPES:
        types = " or ".join(POOL_TYPES)
        raise problem(f"must be {types}, but it is {kind!r}; create a pool of another type by hand.")
    return kind


class _Pool(Declared):
    name: Name
    type: Annotated[Text, AfterValidator(_type)] = PROCESS
    description: Text | None = None
    concurrency_limit: Count | None = None
    job_variables: Values = Field(default={})


class _Pools(Declared):
    work_pools: tuple[_Pool, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        check_unique(self.work_pools, "work_pools")
        return self


def load_pools(path: Path, environment: EnvironmentMapping[str, str]) -> tuple[PoolSpec, ...]:
    """Read every pool of a work-pools.yaml.

    Raises:
        SpecError: Something in the file is wrong; every problem is told, each with its line.
    """
    found, data = read_model(path, environment, _Pools)
    return tuple(
        PoolSpec(line=locate(data, ("work_pools", number, "name"))[0], **dict(pool))
        for number, pool in enumerate(found.work_pools)
    )
