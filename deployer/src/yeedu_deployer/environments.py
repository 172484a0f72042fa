"""environments.yaml: the same deployments a second time, from another branch and under other names."""

import difflib
from collections.abc import Mapping as EnvironmentMapping
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from yeedu_deployer.errors import SpecError
from yeedu_deployer.located import Mapping
from yeedu_deployer.pull_steps import at_revision
from yeedu_deployer.section import Section
from yeedu_deployer.spec import DeploymentSpec

ENVIRONMENT_KEYS = ("branch", "suffix", "tags", "work_queue", "schedules", "parameters")


@dataclass(frozen=True)
class Environment:
    """One environment.

    Attributes:
        name: Its name on the command line.
        branch: The branch, tag or commit that its runs clone.
        suffix: What is added to the name of every deployment and trigger.
        tags: Tags that every deployment gets besides its own.
        work_queue: The queue of the pool that its runs wait in, or None for the deployment's own.
        has_active_schedules: Whether new schedules start runs; an operator's choice stays.
        parameters: Overrides of parameters, by the deployment's name without the suffix.
    """

    name: str
    branch: str
    suffix: str
    tags: tuple[str, ...] = ()
    work_queue: str | None = None
    has_active_schedules: bool = True
    parameters: dict[str, dict[str, JsonValue]] = field(default_factory=dict[str, dict[str, JsonValue]])


def load_environment(
    path: Path, name: str, environment: EnvironmentMapping[str, str], deployments: Sequence[str]
) -> Environment:
    """Read one environment of an environments.yaml.

    Args:
        path: The file; messages show it as given.
        name: The environment's name.
        environment: Values for `{{ $NAME }}`.
        deployments: The names that overrides may be for.

    Raises:
        SpecError: Something in the file is wrong, or it has no such environment.
    """
    top = Section.of_file(path, environment)
    problems = top.problems
    top.check_keys(("environments",))
    every = top.section("environments", "environments")
    known = sorted(every.node.entries) if every else []
    if every is None or name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}."
        problems.add(top.line_of("environments"), f"there is no environment {name!r}; {hint}")
        problems.raise_if_any()
        raise SpecError([])
    section = every.section(name, f"environment {name!r}")
    found = _read(name, section or Section(Mapping({}, 1), name, problems, environment), deployments)
    problems.raise_if_any()
    return found


def _read(name: str, section: Section, deployments: Sequence[str]) -> Environment:
    section.check_keys(ENVIRONMENT_KEYS)
    is_active = section.boolean("schedules")
    overrides = section.values("parameters")
    for deployment, values in overrides.items():
        if deployment not in deployments:
            near = difflib.get_close_matches(deployment, deployments, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            section.problems.add(
                section.line_of("parameters"),
                f"{section.where}: there is no deployment {deployment!r}{hint}",
            )
        elif not isinstance(values, dict):
            section.problems.add(
                section.line_of("parameters"),
                f"{section.where}: the parameters of {deployment!r} must be a mapping.",
            )
    return Environment(
        name=name,
        branch=section.text("branch", required=True) or "",
        suffix=section.text("suffix", required=True) or "",
        tags=section.texts("tags"),
        work_queue=section.text("work_queue"),
        has_active_schedules=True if is_active is None else is_active,
        parameters={
            deployment: values for deployment, values in overrides.items() if isinstance(values, dict)
        },
    )


def in_environment(specs: Sequence[DeploymentSpec], environment: Environment) -> tuple[DeploymentSpec, ...]:
    """Form an environment's deployments from those of the file."""
    return tuple(_in_environment(spec, environment) for spec in specs)


def _in_environment(spec: DeploymentSpec, environment: Environment) -> DeploymentSpec:
    suffix = environment.suffix
    return replace(
        spec,
        name=f"{spec.name}{suffix}",
        tags=tuple(dict.fromkeys((*spec.tags, *environment.tags))),
        work_queue=environment.work_queue or spec.work_queue,
        parameters={**spec.parameters, **environment.parameters.get(spec.name, {})},
        pull=tuple(at_revision(step, environment.branch) for step in spec.pull),
        source_pull=tuple(at_revision(step, environment.branch) for step in spec.source_pull),
        schedules=tuple(
            replace(schedule, active=schedule.active and environment.has_active_schedules)
            for schedule in spec.schedules
        ),
        triggers=tuple({**trigger, "name": f"{trigger['name']}{suffix}"} for trigger in spec.triggers),
    )
