"""Turns declared deployments into definitions: clones each git source once, and imports its flows."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from prefect.utilities.templating import Placeholder, PlaceholderType

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.flow_source import (
    OPEN_VARIABLE,
    VARIABLE,
    FindValue,
    Source,
    source_of,
    with_commits,
    with_token,
)
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.steps import PullStep
from yeedu_deployer.declared.templating import block_of, fill, variable_of
from yeedu_deployer.errors import DeployerError, FlowError, SourceError
from yeedu_deployer.inspection.inspector import FlowFacts, FlowInspector
from yeedu_deployer.planned.deployments import define, failed, wanted
from yeedu_deployer.planned.plan import Plan
from yeedu_worker.git.addresses import Address, logins_of
from yeedu_worker.git.reasons import PLATFORM_HINTS, GitError, Reason
from yeedu_worker.git.remote import Remote, lfs_warning
from yeedu_worker.printable import printable

PLACES = ("repository", "branch", "commit_sha", "clone_directory_name", "directory")
# git gets what it needs to reach a repository, and none of the deployer's secrets.
PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "GIT_SSH_COMMAND", "SSH_AUTH_SOCK"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
)
_CLONE, _LEFT_SECONDS = "deployer-clone-", 86400
# A deployment, and the folder in the clone that its entrypoint is relative to.
_Member = tuple[DeploymentSpec, str]


class Sources:
    """The git sources of a file's deployments.

    `notes` holds remarks on repositories by URL, and `unreadable` the errors of sources that cannot be read.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        token_block: str | None,
        find: FindValue,
        inspector: FlowInspector,
        names: BlockNames,
    ) -> None:
        """Prepare for reading them.

        Args:
            environment: Values for `{{ $NAME }}` in pull steps, as a worker would see them. The token is only
                for the host of its `FLOWS_GIT_URL`.
            token_block: The Secret block whose token git_clone steps get, or None for open repositories.
            find: Reads blocks and variables.
            inspector: Imports the flows.
            names: The names of the blocks that flows get as parameters.
        """
        self.unreadable: dict[Source, SourceError] = {}
        self.notes: dict[str, str] = {}
        self._environment, self._find, self._inspector, self._names = environment, find, inspector, names
        self._token = token_block
        self._host = _host(environment.get("FLOWS_GIT_URL", ""))

    def define(self, specs: Collection[DeploymentSpec]) -> dict[str, Plan]:
        """Read every source, import every entrypoint, and return the completed declarations by id.

        All deployments that share a broken source get its error.
        """
        definitions: dict[str, Plan] = {}
        by_source: dict[Source, list[_Member]] = {}
        for spec in specs:
            try:
                steps = with_commits(_with_variables(spec.source_pull, self._find), self._environment)
                source, directory = source_of(self._with_token(steps), self._environment)
            except DeployerError as error:
                definitions[spec.id] = failed(spec, error, "pull")
            else:
                by_source.setdefault(source, []).append((spec, directory))
        for source, members in by_source.items():
            try:
                flows, user = self._read(source, members)
            except DeployerError as error:
                if isinstance(error, SourceError):
                    error = members[0][0].place.tell(error, "pull", is_shared=len(members) > 1)
                    self.unreadable[source] = error
                definitions |= {spec.id: failed(spec, error) for spec, _ in members}
                continue
            for (spec, _), found in zip(members, flows, strict=True):
                definitions[spec.id] = self._define(spec, found, user)
        return definitions

    def _define(self, spec: DeploymentSpec, found: FlowFacts | FlowError, user: str) -> Plan:
        try:
            if isinstance(found, FlowError):
                raise found
            pull = self._with_token(with_commits(spec.pull, self._environment), user)
            return define(spec, pull, found, self._names)
        except FlowError as error:
            return failed(spec, error)

    def _with_token(self, steps: tuple[PullStep, ...], user: str = "") -> tuple[PullStep, ...]:
        return with_token(steps, self._token, self._host, self._environment, user) if self._token else steps

    def _read(self, source: Source, members: list[_Member]) -> tuple[list[FlowFacts | FlowError], str]:
        """Clone a source; return each flow's facts, and the user its host wants with the platform's token."""
        token = self._token if _host(source.url) == self._host else None
        try:
            remote = remote_of(source, self._find, token)
            first = remote.login
            remote, revision = remote.accepted(source.revision)
            for left in Path(tempfile.gettempdir()).glob(f"{_CLONE}*"):  # by a deployer that was killed
                if left.stat().st_mtime < time.time() - _LEFT_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_CLONE, ignore_cleanup_errors=True) as folder:
                clone = Path(folder)
                remote.clone(revision, clone, source.wanted, _say)
                if warning := lfs_warning(clone):
                    self.notes[remote.address.url] = warning
                flows = self._inspect(source, members, clone)
        except GitError as error:
            raise SourceError(str(error)) from None
        is_other = token and source.names_block("secret", token) and remote.login != first
        return flows, remote.login.username if is_other and remote.login else ""

    def _inspect(self, source: Source, members: list[_Member], clone: Path) -> list[FlowFacts | FlowError]:
        there = [(spec, directory) for spec, directory in members if (clone / directory).is_dir()]
        answers = self._inspector.inspect(clone, [wanted(spec, directory) for spec, directory in there])
        found = {spec.id: answer for (spec, _), answer in zip(there, answers, strict=True)}
        at = f" at {source.revision!r}" if source.revision else ""
        return [
            found.get(spec.id)
            or FlowError(
                f"the pull steps leave the flow in {directory!r} of {source.url}, which has no such folder"
                f"{at}; write one that it has.",
                "pull",
            )
            for spec, directory in members
        ]


def _host(url: str) -> str:
    try:
        return Address.of(url).host
    except GitError:
        return ""


def _say(progress: str) -> None:
    if progress:
        print(f"git: {printable(progress)}", file=sys.stderr, flush=True)


def _with_variables(steps: tuple[PullStep, ...], find: FindValue) -> tuple[PullStep, ...]:
    """Fill in Prefect variables in what steps clone and where to, as a run would."""

    def value(one: Placeholder) -> object:
        is_variable = one.type is PlaceholderType.VARIABLE
        return find(OPEN_VARIABLE, variable_of(one), "") if is_variable else one.full_match

    return tuple(
        replace(
            step,
            inputs={
                key: str(fill(text, value)) if key in PLACES and isinstance(text, str) else text
                for key, text in step.inputs.items()
            },
        )
        for step in steps
    )


def remote_of(source: Source, find: FindValue | None = None, platform_token: str | None = None) -> Remote:
    """Return the repository of a source with the logins to try for it.

    Args:
        source: What a step would clone.
        find: Reads blocks and variables; needed where the credential names any.
        platform_token: The block with the platform's token for its host, or None; it is also used if the
            credential is another step's output.
    """
    address, hints, credential = Address.of(source.url), PLATFORM_HINTS, source.credential
    if outputs := source.placeholders(PlaceholderType.STANDARD):
        hint = (
            f"the step takes it from {outputs[0].full_match}, which another step gives, and the deployer "
            "runs no step: set FLOWS_GIT_TOKEN for its own reading, or name a block or {{ $NAME }}"
        )
        hints = {**hints, Reason.NO_LOGIN: hint}
        own = f"{{{{ prefect.blocks.secret.{platform_token} }}}}"
        credential = (("access_token", own),) if platform_token else ()
    if credential and address.scheme == "http":
        raise SourceError(
            f"A token is configured for {address.url}, but Prefect sends tokens over https only; "
            "use an https URL or leave the token out."
        )
    fields: dict[str, object] = {}
    for name, text in credential:
        value = _value(text, find)
        fields |= cast("dict[str, object]", value) if isinstance(value, dict) else {name: value}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith("GIT_CONFIG_")
    }
    return Remote(address, environment, logins_of(address, fields), hints)


def _value(text: str, find: FindValue | None) -> object:
    """Return a text with its blocks and variables filled in."""

    def value(one: Placeholder) -> object:
        if find and one.type is PlaceholderType.BLOCK_DOCUMENT:
            return find(*block_of(one))
        if find and one.type is PlaceholderType.VARIABLE:
            return find(VARIABLE, variable_of(one), "")
        return one.full_match

    return fill(text, value)
