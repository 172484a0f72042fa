"""work-pools.yaml: the work pools that the deployments run on, since prefect.yaml has no place for them."""

from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from yeedu_deployer.declared.section import Section

POOL_KEYS = ("name", "type", "description", "concurrency_limit", "job_variables")
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


def load_pools(path: Path, environment: EnvironmentMapping[str, str]) -> tuple[PoolSpec, ...]:
    """Read every pool of a work-pools.yaml.

    Raises:
        SpecError: Something in the file is wrong; every problem is told, each with its line.
    """
    top = Section.of_file(path, environment)
    problems = top.problems
    top.check_keys(("work_pools",))
    found: list[PoolSpec] = []
    for section in top.sections("work_pools", "work pool"):
        section.check_keys(POOL_KEYS)
        name = section.text("name", required=True) or ""
        kind = section.text("type") or PROCESS
        if kind not in POOL_TYPES:
            section.problems.add(
                section.line_of("type"),
                f"work pool {name!r}: the type must be {' or '.join(POOL_TYPES)}, but it is {kind!r}; "
                "create a pool of another type by hand.",
            )
        if name and any(other.name == name for other in found):
            section.problems.add(section.line_of("name"), f"two work pools are named {name!r}.")
        found.append(
            PoolSpec(
                name=name,
                type=kind,
                line=section.line_of("name"),
                description=section.text("description"),
                concurrency_limit=section.integer("concurrency_limit", minimum=1),
                job_variables=section.values("job_variables"),
            )
        )
    problems.raise_if_any()
    return tuple(found)
