"""Reads the desired state: what prefect.yaml and the files beside it declare, or the part asked for."""

from collections.abc import Mapping as EnvironmentMapping
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.environments import load_environment
from yeedu_deployer.declared.platform_files import Alert, Pool, load_alerts, load_pools
from yeedu_deployer.declared.prefect_yaml import PrefectFile, load_file
from yeedu_deployer.declared.selection import Selection, read_selection
from yeedu_deployer.declared.templating import Lookup


@dataclass(frozen=True)
class Desired(PrefectFile):
    """The desired state: a prefect.yaml as one environment has it, with work pools and automations.

    Attributes:
        pools: The work pools to apply: the platform's, or an environment's own.
        shared_pools: The names of those that an environment shares with the platform, and does not change.
        automations: The platform's own automations; `None` leaves those on the server as they are.
        only: What `--only` asks for, if given; then nothing but deployments is applied.
        environment: The environment of the deployments; empty for the platform itself.
        suffix: What the environment adds to their names.
    """

    pools: tuple[Pool, ...] = ()
    shared_pools: frozenset[str] = frozenset()
    automations: tuple[Alert, ...] | None = None
    only: Selection | None = None
    environment: str = ""
    suffix: str = ""
    block_names: BlockNames = field(default_factory=BlockNames)

    @property
    def broken_names(self) -> frozenset[str]:
        """The names of the deployments whose entry in the file cannot be used."""
        return frozenset(f"{name.partition(' (line ')[0]}{self.suffix}" for name in self.errors)

    @property
    def prunes(self) -> bool:
        """Whether to delete what the file dropped: not with `--only`, or if a broken entry has no name."""
        is_nameless = any(not name or name.removeprefix("line ").isdecimal() for name in self.errors)
        return self.only is None and not is_nameless

    def without_other_flows(self, flows: EnvironmentMapping[str, str]) -> "Desired":
        """Leave out deployments whose name was asked for, but with another flow.

        `flows` maps the ids of the deployments whose code could be read to the names of their flows. Raises
        `SelectionError` if something that was asked for has no deployment left.
        """
        if self.only is None:
            return self
        found = {name.removesuffix(self.suffix): flow for name, flow in flows.items()}
        refused = {f"{name}{self.suffix}" for name in self.only.refused(found, self.suffix)}
        kept = tuple(spec for spec in self.deployments if spec.id not in refused)
        return replace(self, deployments=kept)


@dataclass(frozen=True)
class Files:
    """The files of the desired state; only prefect.yaml is required, and the others default to beside it."""

    file: Path
    pools: Path | None = None
    alerts: Path | None = None
    environments: Path | None = None

    def read(
        self,
        environment: EnvironmentMapping[str, str],
        *,
        of_environment: str = "",
        only: Sequence[str] = (),
        deployments_only: bool = False,
        lookup: Lookup | None = None,
    ) -> Desired:
        """Read the desired state; raise `SpecError` for mistakes, or `SelectionError` for one in `only`.

        Args:
            environment: Values for `{{ $NAME }}`.
            of_environment: The environment whose deployments are wanted; empty for the platform's own.
            only: What `--only` asks for; empty for every deployment.
            deployments_only: Whether only deployments are applied. If so, or with `only`, a parameter that
                names an unset variable keeps the server's value.
            lookup: The server's variables and blocks, for templates; without it, everything else is checked.
        """
        keeps_unset = deployments_only or bool(only)
        selection = read_selection(self.file, environment, only)
        chosen = None
        if of_environment:
            file = self.environments or self.file.with_name("environments.yaml")
            chosen = load_environment(file, of_environment, environment, selection, keeps_unset=keeps_unset)
        names = selection.names(chosen.says.suffix if chosen else "") if only else None
        declared = load_file(self.file, environment, names, keeps_unset=keeps_unset, lookup=lookup)
        pools_file = self.pools or _if_there(self.file.with_name("work-pools.yaml"))
        alerts = None if chosen else self.alerts or _if_there(self.file.with_name("alerts.yaml"))
        pools = load_pools(pools_file, environment) if pools_file else ()
        deployments, shared = declared.deployments, frozenset[str]()
        if chosen:
            if not only and not declared.errors:
                chosen.check_pools(deployments)
            pools, shared = chosen.pools_in_place(pools)
            deployments = chosen.in_environment(deployments, environment)
        return Desired(
            name=declared.name,
            deployments=deployments,
            errors=declared.errors,
            notes=declared.notes,
            pools=pools,
            shared_pools=shared,
            automations=load_alerts(alerts, environment) if alerts else None,
            only=selection if only else None,
            environment=of_environment,
            suffix=chosen.says.suffix if chosen else "",
            block_names=chosen.block_names if chosen else BlockNames(),
        )


def _if_there(file: Path) -> Path | None:
    return file if file.exists() else None
