"""Turns declared deployments into definitions: checks each git source once, and imports its flows."""

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.flow_source import Source, source_of, with_commits, with_token
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.pull_steps import PullStep
from yeedu_deployer.errors import DeployerError, FlowError, SourceError
from yeedu_deployer.git.repository import FindValue, remote_of, with_variables
from yeedu_deployer.inspection.inspector import FlowFacts, FlowInspector
from yeedu_deployer.planned.definition import Definition, define, place_of, wanted
from yeedu_worker.git.addresses import Address
from yeedu_worker.git.reasons import GitError
from yeedu_worker.git.remote import lfs_warning
from yeedu_worker.printable import printable

_CLONE, _LEFT_SECONDS = "deployer-clone-", 86400


@dataclass
class Resolved:
    """What came of the declared deployments.

    Attributes:
        definitions: The deployments that can be applied, by their id in the file.
        errors: For every other one what is wrong; the same object for all that share a broken source.
        unreadable: The sources that could not be read, and why.
        notes: What is to be known of a repository, by its URL.
    """

    definitions: dict[str, Definition] = field(default_factory=dict[str, Definition])
    errors: dict[str, DeployerError] = field(default_factory=dict[str, DeployerError])
    unreadable: dict[Source, SourceError] = field(default_factory=dict[Source, SourceError])
    notes: dict[str, str] = field(default_factory=dict[str, str])


# A deployment, its steps with the commits that they clone, and where in the clone its entrypoint begins.
_Member = tuple[DeploymentSpec, tuple[PullStep, ...], str]


def resolve_deployments(
    specs: tuple[DeploymentSpec, ...],
    environment: Mapping[str, str],
    token_block: str | None,
    find: FindValue,
    inspector: FlowInspector,
    names: BlockNames | None = None,
) -> Resolved:
    """Check every git source, import every entrypoint, and complete the declarations.

    Args:
        specs: What the file declares.
        environment: Values for `{{ $NAME }}` in pull steps, as a worker would see them. The token is for the
            host of its `FLOWS_GIT_URL` alone.
        token_block: The Secret block whose token git_clone steps get, or None for open repositories.
        find: Gives the value of a block, by type, name and key, or of a variable; may raise `DeployerError`.
        inspector: Imports the flows.
        names: How the blocks that flows are told of are called.
    """
    resolved = Resolved()
    host = _host(environment.get("FLOWS_GIT_URL", ""))
    by_source: dict[Source, list[_Member]] = {}
    for spec in specs:
        pull = with_commits(spec.pull, environment)
        try:
            steps = with_commits(with_variables(spec.source_pull, find), environment)
            if token_block:
                steps = with_token(steps, token_block, host, environment)
            source, directory = source_of(steps, environment)
        except DeployerError as error:
            resolved.errors[spec.id] = place_of(spec).tell(error, "pull")
            continue
        by_source.setdefault(source, []).append((spec, pull, directory))
    for source, members in by_source.items():
        own = token_block if _host(source.url) == host else None
        try:
            flows, user = _read(source, members, find, inspector, own, resolved.notes)
        except DeployerError as error:
            if isinstance(error, SourceError):
                error = place_of(members[0][0]).tell(error, "pull", is_shared=len(members) > 1)
                resolved.unreadable[source] = error
            resolved.errors |= {spec.id: error for spec, _, _ in members}
            continue
        for (spec, pull, _), found in zip(members, flows, strict=True):
            steps = with_token(pull, token_block, host, environment, user) if token_block else pull
            try:
                resolved.definitions[spec.id] = _define(spec, steps, found, names)
            except FlowError as error:
                resolved.errors[spec.id] = error
    return resolved


def _host(url: str) -> str:
    try:
        return Address.of(url).host
    except GitError:
        return ""


def _read(
    source: Source,
    members: list[_Member],
    find: FindValue,
    inspector: FlowInspector,
    token_block: str | None,
    notes: dict[str, str],
) -> tuple[list[FlowFacts | FlowError], str]:
    """Clone a source and import its flows.

    Args:
        source: What to clone.
        members: The deployments whose flows are in it.
        find: Reads blocks and variables.
        inspector: Imports the flows.
        token_block: The block with the platform's token, where that is for this host.
        notes: Takes what is to be known of the repository.

    Returns:
        What was found of each flow, and the user that the host wants with the platform's token, if any.
    """
    try:
        remote = remote_of(source, find, token_block)
        first = remote.login
        remote, revision = remote.accepted(source.revision)
        for left in Path(tempfile.gettempdir()).glob(f"{_CLONE}*"):  # of a deployer that was killed
            if left.stat().st_mtime < time.time() - _LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_CLONE, ignore_cleanup_errors=True) as folder:
            clone = Path(folder)
            remote.clone(revision, clone, source.wanted, _say)
            if warning := lfs_warning(clone):
                notes[remote.address.url] = warning
            flows = _inspect(source, members, clone, inspector)
    except GitError as error:
        raise SourceError(str(error)) from None
    is_other = token_block and source.names_block("secret", token_block) and remote.login != first
    return flows, remote.login.username if is_other and remote.login else ""


def _say(progress: str) -> None:
    if progress:
        print(f"git: {printable(progress)}", file=sys.stderr, flush=True)


def _inspect(
    source: Source, members: list[_Member], clone: Path, inspector: FlowInspector
) -> list[FlowFacts | FlowError]:
    there = [(spec, directory) for spec, _, directory in members if (clone / directory).is_dir()]
    answers = inspector.inspect(clone, [wanted(spec, directory) for spec, directory in there])
    found = {spec.id: answer for (spec, _), answer in zip(there, answers, strict=True)}
    at = f" at {source.revision!r}" if source.revision else ""
    return [
        found.get(spec.id)
        or FlowError(
            f"the pull steps leave the flow in {directory!r} of {source.url}, which has no such folder{at}; "
            "write one that it has.",
            "pull",
        )
        for spec, _, directory in members
    ]


def _define(
    spec: DeploymentSpec,
    pull: tuple[PullStep, ...],
    found: FlowFacts | FlowError,
    names: BlockNames | None,
) -> Definition:
    if isinstance(found, FlowError):
        raise found
    return define(spec, pull, found, names)
