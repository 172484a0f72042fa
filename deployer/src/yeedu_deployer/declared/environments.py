"""Reads environments.yaml: the same deployments again, from another branch and under other names."""

import re
from collections.abc import Mapping as EnvironmentMapping
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import Field, JsonValue

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.flow_source import at_revision
from yeedu_deployer.declared.platform_files import Pool
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.selection import Selection
from yeedu_deployer.declared.templating import Templates
from yeedu_deployer.declared.validation import Declared, Name, Switch, Text, Texts, Value, hint, validated
from yeedu_deployer.declared.yaml_marks import Mapping, Problems, describe, value_of
from yeedu_deployer.declared.yaml_reader import load
from yeedu_deployer.errors import SpecError

BLOCK_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class EnvironmentModel(Declared):
    """One environment as the file declares it; its `parameters` are read separately."""

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
    """One environment: its declaration, and the names of its blocks.

    Attributes:
        place: File and line of `work_pools`, for messages.
        parameters: Overrides of parameters, by the deployment's name without the suffix.
        kept: Overrides for which the server's value stays, likewise, with the unset variables they name.
    """

    says: EnvironmentModel
    block_names: BlockNames
    place: str
    parameters: dict[str, dict[str, JsonValue]] = field(default_factory=dict[str, dict[str, JsonValue]])
    kept: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict[str, dict[str, tuple[str, ...]]])

    def in_environment(
        self, specs: Sequence[DeploymentSpec], variables: EnvironmentMapping[str, str]
    ) -> tuple[DeploymentSpec, ...]:
        """Return the environment's version of the file's deployments; pull steps may name `variables`."""
        return tuple(self._of(spec, variables) for spec in specs)

    def _of(self, spec: DeploymentSpec, variables: EnvironmentMapping[str, str]) -> DeploymentSpec:
        says, suffix, override = spec.says, self.says.suffix, self.parameters.get(spec.name, {})
        kept = {**spec.kept, **self.kept.get(spec.name, {})}
        pool = says.work_pool
        given = {**says.parameters, **override}
        return replace(
            spec,
            id=f"{spec.id}{suffix}",
            says=says.model_copy(
                update={
                    "name": f"{spec.name}{suffix}",
                    "tags": tuple(dict.fromkeys((*says.tags, *self.says.tags))),
                    "work_pool": pool.model_copy(
                        update={
                            "name": self.says.work_pools.get(pool.name, pool.name),
                            "work_queue_name": self.says.work_queue or pool.work_queue_name,
                        }
                    ),
                    "parameters": {
                        name: value for name, value in given.items() if name in override or name not in kept
                    },
                    "schedules": tuple(
                        one.model_copy(update={"active": one.active and self.says.schedules})
                        for one in says.schedules
                    ),
                    "triggers": tuple({**one, "name": f"{one['name']}{suffix}"} for one in says.triggers),
                }
            ),
            place=replace(spec.place, name=f"{spec.name}{suffix}"),
            kept={name: needed for name, needed in kept.items() if name not in override},
            pull=at_revision(spec.pull, self.says.branch, variables),
            source_pull=at_revision(spec.source_pull, self.says.branch, variables),
        )

    def pools_in_place(self, pools: Sequence[Pool]) -> tuple[tuple[Pool, ...], frozenset[str]]:
        """Return the pools that replace others in this environment, and the names of those in the file.

        A replacement that work-pools.yaml declares is shared with the platform; any other is a copy of the
        pool it replaces. If the file declares neither, the replacement is managed elsewhere and has to exist.
        """
        declared = {pool.name: pool for pool in pools}
        found = (
            declared.get(new) or declared[old].model_copy(update={"name": new})
            for old, new in self.says.work_pools.items()
            if old in declared or new in declared
        )
        return tuple(found), frozenset(declared)

    def check_pools(self, specs: Sequence[DeploymentSpec]) -> None:
        """Check that every pool that it replaces is used by a deployment of the file."""
        used = {spec.says.work_pool.name for spec in specs}
        for pool in self.says.work_pools:
            if pool not in used:
                told = hint(pool, used)
                raise SpecError([f"{self.place}: no deployment uses the work pool {pool!r}; {told}"])


def load_environment(
    path: Path,
    name: str,
    environment: EnvironmentMapping[str, str],
    selection: Selection,
    *,
    keeps_unset: bool = False,
) -> Environment:
    """Read one environment of an environments.yaml; raise `SpecError` for mistakes.

    `selection` has the deployments that overrides may name, and those that are selected. With `keeps_unset`,
    a parameter that names an unset variable keeps the server's value.
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
    says = validated(EnvironmentModel, data, where, problems)
    if says is None:
        raise problems.error()
    own = name.lower().replace("_", "-")
    if says.own_blocks and not BLOCK_NAME.fullmatch(own):
        problems.add(
            data.lines["own_blocks"],
            f"{where}: its name becomes part of its blocks' names, so that it may have letters, digits and "
            "single dashes only.",
        )
    place = f"{path}:{data.lines.get('work_pools', data.line)}"
    result = Environment(says, BlockNames(own if says.own_blocks else ""), place)
    chosen = selection.names(says.suffix)
    names = {entry.name for entry in selection.entries}
    meant = {entry.name for entry in selection.entries if entry.id in chosen}
    for deployment, values, line in overrides.entries() if isinstance(overrides, Mapping) else ():
        if deployment not in names:
            problems.add(line, f"{where}: there is no deployment {deployment!r}; {hint(deployment, names)}")
        elif not isinstance(values, Mapping):
            problems.add(line, f"{where}: the parameters of {deployment!r} must be a mapping.")
        elif deployment in meant:
            unset = {key: templates.unset(value) for key, value in values.items()} if keeps_unset else {}
            result.kept[deployment] = kept = {key: needed for key, needed in unset.items() if needed}
            filled = templates.put_in(values.without(kept), where, problems, line, is_value=True)
            result.parameters[deployment] = value_of(filled)
    if overrides is not None and not isinstance(overrides, Mapping):
        line = section.lines["parameters"]
        problems.add(line, f"{where}: 'parameters' must be a mapping, but it is {describe(overrides)}.")
    problems.raise_if_any()
    return result
