"""The desired state: what prefect.yaml and the files beside it declare, and what of it is asked for."""

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
    """The desired state: a whole prefect.yaml, as it is in an environment, and what else is declared.

    Attributes:
        pools: The work pools that belong to what is applied: the platform's, or an environment's own.
        shared_pools: The names of those that are another's to change.
        automations: The platform's own automations; `None` leaves those on the server as they are.
        only: What `--only` asks for, where it does; then nothing but the deployments is dealt with.
        environment: The environment that the deployments are of; empty for the platform itself.
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
        """The names of the deployments that the file declares in an entry that cannot be used."""
        return frozenset(f"{name.partition(' (line ')[0]}{self.suffix}" for name in self.errors)

    @property
    def prunes(self) -> bool:
        """Whether what the file dropped is deleted: not where a part is chosen, or an entry has no name."""
        is_nameless = any(not name or name.removeprefix("line ").isdecimal() for name in self.errors)
        return self.only is None and not is_nameless

    def without_other_flows(self, flows: EnvironmentMapping[str, str]) -> "Desired":
        """Leave out what has a name that was asked for, and is of another flow than was asked for.

        `flows` has the name of the flow of each deployment whose code could be read, by its id. Where
        nothing is left of what was asked for, that is a `SelectionError`.
        """
        if self.only is None:
            return self
        found = {name.removesuffix(self.suffix): flow for name, flow in flows.items()}
        refused = {f"{name}{self.suffix}" for name in self.only.refused(found, self.suffix)}
        kept = tuple(spec for spec in self.deployments if spec.id not in refused)
        return replace(self, deployments=kept)


@dataclass(frozen=True)
class Files:
    """Where the desired state is declared; by default beside prefect.yaml, which alone has to be there."""

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
        """Read the desired state; what is wrong is a `SpecError`, or a `SelectionError` for what `only` asks.

        Args:
            environment: Values for `{{ $NAME }}`.
            of_environment: An environment whose deployments are wanted; empty for the platform's own.
            only: What `--only` asks for; nothing means every deployment.
            deployments_only: Whether nothing else is to be dealt with; then a parameter that names a variable
                which is not set stays as the server has it, and so it does with `only`.
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
