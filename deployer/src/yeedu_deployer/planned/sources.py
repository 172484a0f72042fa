"""Turns declared deployments into definitions: checks each git source once, and imports its flows."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.pull_steps import PullStep, Source, source_of, with_access_token, with_commit
from yeedu_deployer.errors import DeployerError, FlowError, SourceError
from yeedu_deployer.git.repository import Credential, Repository
from yeedu_deployer.inspection.inspector import FlowFacts, FlowInspector
from yeedu_deployer.planned.definition import Definition, define, wanted

FindCredential = Callable[[str, str], str | Credential]


@dataclass
class Resolved:
    """What came of the declared deployments.

    Attributes:
        definitions: The deployments that can be applied, by their id in the file.
        errors: For every other one what is wrong; the same object for all that share a broken source.
        unreadable: The sources that could not be read, and why.
    """

    definitions: dict[str, Definition] = field(default_factory=dict[str, Definition])
    errors: dict[str, DeployerError] = field(default_factory=dict[str, DeployerError])
    unreadable: dict[Source, SourceError] = field(default_factory=dict[Source, SourceError])


def resolve_deployments(
    specs: tuple[DeploymentSpec, ...],
    environment: Mapping[str, str],
    token_block: str | None,
    find_credential: FindCredential,
    inspector: FlowInspector,
    names: BlockNames | None = None,
) -> Resolved:
    """Check every git source, import every entrypoint, and complete the declarations.

    Args:
        specs: What the file declares.
        environment: Values for `{{ $NAME }}` in pull steps, as a worker would see them.
        token_block: The Secret block whose token git_clone steps get, or None for open repositories.
        find_credential: Gives the credential in a block, by type and name; may raise `DeployerError`.
        inspector: Imports the flows.
        names: How the blocks that flows are told of are called.
    """
    resolved = Resolved()
    by_source: dict[Source, list[tuple[DeploymentSpec, tuple[PullStep, ...]]]] = {}
    for spec in specs:
        pull, source_pull = (
            tuple(with_commit(step, environment) for step in steps) for steps in (spec.pull, spec.source_pull)
        )
        if token_block:
            pull = tuple(with_access_token(step, token_block) for step in pull)
            source_pull = tuple(with_access_token(step, token_block) for step in source_pull)
        by_source.setdefault(source_of(source_pull, environment), []).append((spec, pull))
    for source, members in by_source.items():
        try:
            found = _inspect(source, [spec for spec, _ in members], find_credential, inspector)
        except DeployerError as error:
            if isinstance(error, SourceError):
                resolved.unreadable[source] = error
            resolved.errors |= {spec.id: error for spec, _ in members}
            continue
        for (spec, pull), facts in zip(members, found, strict=True):
            try:
                resolved.definitions[spec.id] = _define(spec, pull, facts, names)
            except FlowError as error:
                resolved.errors[spec.id] = error
    return resolved


def _inspect(
    source: Source, specs: list[DeploymentSpec], find_credential: FindCredential, inspector: FlowInspector
) -> list[FlowFacts | FlowError]:
    credential = find_credential(*source.credential) if source.credential else None
    repository = Repository.from_url(source.url, credential)
    repository.check(source.revision)
    with tempfile.TemporaryDirectory(prefix="deployer-clone-", ignore_cleanup_errors=True) as folder:
        repository.fetch(source.revision, Path(folder))
        return inspector.inspect(Path(folder), [wanted(spec) for spec in specs])


def _define(
    spec: DeploymentSpec,
    pull: tuple[PullStep, ...],
    found: FlowFacts | FlowError,
    names: BlockNames | None,
) -> Definition:
    if isinstance(found, FlowError):
        raise found
    return define(spec, pull, found, names)
