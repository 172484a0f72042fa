"""environments.yaml: the same deployments a second time, from another branch and under other names."""

import difflib
import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.flow_source import at_revision
from yeedu_deployer.declared.located import Mapping
from yeedu_deployer.declared.pool_spec import PoolSpec
from yeedu_deployer.declared.section import Section
from yeedu_deployer.declared.selection import Selection
from yeedu_deployer.declared.spec import DeploymentSpec
from yeedu_deployer.errors import SpecError

ENVIRONMENT_KEYS = (
    *("branch", "suffix", "tags", "work_pools", "work_queue", "own_blocks", "schedules", "parameters"),
)
BLOCK_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Environment:
    """One environment.

    Attributes:
        name: Its name on the command line.
        branch: The branch, tag or commit that its runs clone.
        suffix: What is added to the name of every deployment and trigger.
        tags: Tags that every deployment gets besides its own.
        work_pools: The pool that takes the place of another one, by that one's name.
        work_queue: The queue of the pool that its runs wait in, or None for the deployment's own.
        block_names: How its blocks are called.
        has_active_schedules: Whether new schedules start runs; an operator's choice stays.
        parameters: Overrides of parameters, by the deployment's name without the suffix.
        kept: Overrides that stay as the server has them, likewise, with the variables that they would need.
        place: File and line of `work_pools`, for messages.
    """

    name: str
    branch: str
    suffix: str
    tags: tuple[str, ...] = ()
    work_pools: dict[str, str] = field(default_factory=dict[str, str])
    work_queue: str | None = None
    block_names: BlockNames = field(default_factory=BlockNames)
    has_active_schedules: bool = True
    parameters: dict[str, dict[str, JsonValue]] = field(default_factory=dict[str, dict[str, JsonValue]])
    kept: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict[str, dict[str, tuple[str, ...]]])
    place: str = ""


def load_environment(
    path: Path,
    name: str,
    environment: EnvironmentMapping[str, str],
    selection: Selection,
    *,
    keeps_unset: bool = False,
) -> Environment:
    """Read one environment of an environments.yaml.

    Args:
        path: The file; messages show it as given.
        name: The environment's name.
        environment: Values for `{{ $NAME }}`.
        selection: The deployments that overrides may be for, and those that are meant.
        keeps_unset: Whether a parameter that names a variable which is not set stays as the server has it.

    Raises:
        SpecError: Something in the file is wrong, or it has no such environment.
        SelectionError: `--only` asks for a deployment that there is not.
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
    section = section or Section(Mapping({}, 1), name, problems, environment)
    section.check_keys(ENVIRONMENT_KEYS)
    is_active = section.boolean("schedules")
    suffix = section.text("suffix", required=True) or ""
    found = Environment(
        name=name,
        branch=section.text("branch", required=True) or "",
        suffix=suffix,
        tags=section.texts("tags"),
        work_pools=_read_pools(section),
        work_queue=section.text("work_queue"),
        block_names=_read_block_names(name, section),
        has_active_schedules=True if is_active is None else is_active,
        place=f"{path}:{section.line_of('work_pools')}",
    )
    for deployment, values, kept in _read_overrides(section, selection, suffix, keeps_unset=keeps_unset):
        found.parameters[deployment], found.kept[deployment] = values, kept
    problems.raise_if_any()
    return found


def _read_block_names(name: str, section: Section) -> BlockNames:
    if not section.boolean("own_blocks"):
        return BlockNames()
    name = name.lower().replace("_", "-")
    if not BLOCK_NAME.fullmatch(name):
        section.problems.add(
            section.line_of("own_blocks"),
            f"{section.where}: its name becomes part of its blocks' names, so that it may have letters, "
            "digits and single dashes only.",
        )
    return BlockNames(name)


def _read_pools(section: Section) -> dict[str, str]:
    pools = section.section("work_pools", f"{section.where}: work_pools")
    return {key: pools.text(key, required=True) or "" for key in pools.node.entries} if pools else {}


def _read_overrides(
    section: Section, selection: Selection, suffix: str, *, keeps_unset: bool
) -> Iterator[tuple[str, dict[str, JsonValue], dict[str, tuple[str, ...]]]]:
    """Yield the overrides of each deployment that is meant; those of the others need not be right."""
    overrides = section.section("parameters", f"{section.where}: parameters")
    if overrides is None:
        return
    names = [entry.name for entry in selection.entries]
    chosen = selection.names(suffix)
    for deployment, entry in overrides.node.entries.items():
        if deployment not in names:
            near = difflib.get_close_matches(deployment, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            section.problems.add(entry.line, f"{section.where}: there is no deployment {deployment!r}{hint}")
        elif not isinstance(entry.value, Mapping):
            section.problems.add(
                entry.line, f"{section.where}: the parameters of {deployment!r} must be a mapping."
            )
        elif deployment in chosen:
            if keeps_unset:
                yield deployment, *overrides.set_values(deployment)
            else:
                yield deployment, overrides.values(deployment), {}


def pools_of(environment: Environment, pools: Sequence[PoolSpec]) -> tuple[PoolSpec, ...]:
    """Form the pools that an environment has in place of others.

    One that work-pools.yaml declares itself is shared with the platform; any other is like the one whose
    place it takes. Where the file knows neither, it is somebody's own, and has to exist.
    """
    declared = {pool.name: pool for pool in pools}
    shared = {new: replace(declared[new], is_shared=True) for new in declared}
    return tuple(
        shared.get(new) or replace(declared[old], name=new)
        for old, new in environment.work_pools.items()
        if old in declared or new in declared
    )


def check_pools(specs: Sequence[DeploymentSpec], environment: Environment) -> None:
    """Make sure that every pool that an environment replaces is used by a deployment of the file.

    Raises:
        SpecError: One is not.
    """
    used = {spec.work_pool for spec in specs}
    for pool in environment.work_pools:
        if pool not in used:
            near = difflib.get_close_matches(pool, used, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"they use {', '.join(sorted(used))}."
            raise SpecError([f"{environment.place}: no deployment uses the work pool {pool!r}; {hint}"])


def in_environment(
    specs: Sequence[DeploymentSpec], environment: Environment, variables: EnvironmentMapping[str, str]
) -> tuple[DeploymentSpec, ...]:
    """Form an environment's deployments from those of the file; `variables` are what pull steps may name."""
    return tuple(_in_environment(spec, environment, variables) for spec in specs)


def _in_environment(
    spec: DeploymentSpec, environment: Environment, variables: EnvironmentMapping[str, str]
) -> DeploymentSpec:
    suffix, override = environment.suffix, environment.parameters.get(spec.name, {})
    kept = {**spec.kept, **environment.kept.get(spec.name, {})}
    return replace(
        spec,
        name=f"{spec.name}{suffix}",
        tags=tuple(dict.fromkeys((*spec.tags, *environment.tags))),
        work_pool=environment.work_pools.get(spec.work_pool, spec.work_pool),
        work_queue=environment.work_queue or spec.work_queue,
        parameters={
            name: value
            for name, value in {**spec.parameters, **override}.items()
            if name in override or name not in kept
        },
        kept={name: variables for name, variables in kept.items() if name not in override},
        pull=at_revision(spec.pull, environment.branch, variables),
        source_pull=at_revision(spec.source_pull, environment.branch, variables),
        schedules=tuple(
            replace(schedule, active=schedule.active and environment.has_active_schedules)
            for schedule in spec.schedules
        ),
        triggers=tuple({**trigger, "name": f"{trigger['name']}{suffix}"} for trigger in spec.triggers),
    )
