"""environments.yaml: the same deployments a second time, from another branch and under other names."""

import re
from collections.abc import Mapping as EnvironmentMapping
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import Field, JsonValue, ValidationError

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.flow_source import at_revision
from yeedu_deployer.declared.pool_spec import PoolSpec
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.selection import Selection
from yeedu_deployer.declared.templating import Templates
from yeedu_deployer.declared.validation import Declared, Name, Switch, Text, Texts, Value, explain, hint
from yeedu_deployer.declared.yaml_marks import Mapping, Problems, describe, value_of
from yeedu_deployer.declared.yaml_reader import load
from yeedu_deployer.errors import SpecError

BLOCK_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class _Environment(Declared):
    branch: Text = Field(min_length=1)
    suffix: Name
    tags: Texts = ()
    work_pools: dict[str, Name] = Field(default={})
    work_queue: Name | None = None
    own_blocks: Switch = False
    schedules: Switch = True
    parameters: dict[str, Value] = Field(default={})


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
    top, problems, templates = load(path), Problems(str(path)), Templates(environment)
    for key, line in top.lines.items():
        if key != "environments" and not key.startswith("x-"):
            problems.add(line, f"the file: the key {key!r} is unknown; {hint(key, ['environments'])}")
    every = top.get("environments")
    every = every if isinstance(every, Mapping) else Mapping([], top.line)
    if name not in every:
        line = top.lines.get("environments", top.line)
        problems.add(line, f"there is no environment {name!r}; {hint(name, every)}")
        raise problems.error()
    section, where = every[name], f"environment {name!r}"
    section = Mapping([], every.lines[name]) if section is None else section
    overrides = section.get("parameters") if isinstance(section, Mapping) else None
    data = section.without(["parameters"]) if isinstance(section, Mapping) else section
    data = templates.put_in(data, where, problems, every.lines[name])
    try:
        found = _Environment.model_validate(data)
    except ValidationError as error:
        explain(error, data, _Environment, where, problems, tells_all=True)
        raise problems.error() from None
    result = Environment(
        name=name,
        branch=found.branch,
        suffix=found.suffix,
        tags=found.tags,
        work_pools=found.work_pools,
        work_queue=found.work_queue,
        block_names=BlockNames(name.lower().replace("_", "-")) if found.own_blocks else BlockNames(),
        has_active_schedules=found.schedules,
        place=f"{path}:{data.lines.get('work_pools', data.line)}",
    )
    if found.own_blocks and not BLOCK_NAME.fullmatch(result.block_names.environment):
        problems.add(
            data.lines["own_blocks"],
            f"{where}: its name becomes part of its blocks' names, so that it may have letters, digits and "
            "single dashes only.",
        )
    chosen = selection.names(found.suffix)
    names = {entry.name for entry in selection.entries}
    meant = {entry.name for entry in selection.entries if entry.id in chosen}
    for deployment, values, line in overrides.entries() if isinstance(overrides, Mapping) else ():
        if deployment not in names:
            told = hint(deployment, names)
            problems.add(line, f"{where}: there is no deployment {deployment!r}; {told}")
        elif not isinstance(values, Mapping):
            problems.add(line, f"{where}: the parameters of {deployment!r} must be a mapping.")
        elif deployment in meant:
            unset = {key: templates.unset(value) for key, value in values.items()} if keeps_unset else {}
            result.kept[deployment] = kept = {key: names for key, names in unset.items() if names}
            filled = templates.put_in(values.without(kept), where, problems, line, is_value=True)
            result.parameters[deployment] = value_of(filled)
    if overrides is not None and not isinstance(overrides, Mapping):
        line = section.lines["parameters"]
        problems.add(line, f"{where}: 'parameters' must be a mapping, but it is {describe(overrides)}.")
    problems.raise_if_any()
    return result


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
            told = hint(pool, used)
            raise SpecError([f"{environment.place}: no deployment uses the work pool {pool!r}; {told}"])


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
        id=f"{spec.id}{suffix}",
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
