"""Brings the blocks to the desired state, and finds the credentials that pull steps name."""

import re
from collections.abc import Mapping
from typing import Any, cast

from prefect.exceptions import ObjectNotFound

from yeedu_deployer.applied.secret_blocks import read_secret
from yeedu_deployer.applied.stage import Stage
from yeedu_deployer.applied.typed_blocks import GITHUB, SECRET
from yeedu_deployer.declared.block_names import CONNECTION_BLOCK, GIT_TOKEN_BLOCK, PASSWORD_BLOCK
from yeedu_deployer.errors import DeployerError, SourceError
from yeedu_deployer.git.repository import VARIABLE
from yeedu_deployer.planned.credentials import (
    GITHUB_BLOCK,
    BlockAction,
    BlockPlan,
    apply_block,
    login_notes,
    named_token_block,
    remember,
)
from yeedu_deployer.planned.sources import Resolved
from yeedu_deployer.report import Outcome
from yeedu_deployer.server import explained

GITHUB_ADDRESS = (GITHUB, GITHUB_BLOCK)

OUTCOMES = {
    BlockAction.CREATE: (Outcome.CREATED, Outcome.TO_CREATE, ""),
    BlockAction.CHANGE: (Outcome.CHANGED, Outcome.TO_CHANGE, ""),
    BlockAction.UNCHANGED: (Outcome.UNCHANGED, Outcome.UNCHANGED, ""),
    BlockAction.KEEP: (Outcome.KEPT, Outcome.KEPT, "edited on the server; the configured value is as before"),
}


def bring_blocks(stage: Stage, blocks: Mapping[str, BlockPlan], resolved: Resolved) -> None:
    """Write every block whose plan says so; a git token that does not work is not stored."""
    notes = login_notes(blocks, stage.block_names)
    for block in blocks.values():
        try:
            for source, error in resolved.unreadable.items():
                if source.names_block(block.kind, block.name):
                    raise error  # a token that does not work must not replace one that may
            if not stage.plan_only:
                apply_block(block)
                remember(block, stage.memory.blocks)
        except DeployerError as error:
            stage.report.fail("block", block.name, error)
            continue
        done, planned, detail = OUTCOMES[block.action]
        detail = "; ".join(filter(None, [detail, notes.get(block.name)]))
        stage.report.add("block", block.name, planned if stage.plan_only else done, detail)


def find_value(stage: Stage, kind: str, name: str, key: str, blocks: Mapping[str, BlockPlan]) -> object:
    """Find what a worker's git_clone step would get for a block or a variable once the blocks are applied.

    Args:
        stage: What this run of the deployer shares.
        kind: The slug of the block's type, or `VARIABLE`.
        name: Its name.
        key: Where in its value, for example `.token`; empty for all of it.
        blocks: The blocks that are configured here.

    Raises:
        SourceError: There is no such block, variable or key.
    """
    if kind == VARIABLE:
        return _kept_secret(stage, _read_variable(stage, name))
    block = blocks.get(name)
    if block and block.kind != kind:
        block = None
    if kind == SECRET:
        value = block.effective if block else read_secret(stage.client, name)
        if value is None:
            raise SourceError(
                f"The pull step names the Secret block {name!r}, which does not exist; create it, "
                "or name the token's file in FLOWS_GIT_TOKEN_FILE."
            )
        key = re.sub(r"^\.value(?![\w-])", "", key)  # which is what a Secret has anyway
    else:
        value = block.effective if block else _read_fields(stage, kind, name)
    for part in filter(None, key.split(".")):
        value = cast("dict[str, object]", value).get(part) if isinstance(value, dict) else None
        if value is None:
            raise SourceError(f"The {kind} block {name!r}, which the pull step names, has no {part!r}.")
    texts = cast("dict[str, object]", value).values() if isinstance(value, dict) else (value,)
    for text in texts:
        if isinstance(text, str):
            _kept_secret(stage, text)
    return cast("object", value)


def _read_variable(stage: Stage, name: str) -> str:
    with explained(f"The variable {name!r} could not be read", quote_answer=False):
        variable = stage.client.read_variable_by_name(name)
    if variable is None:
        raise SourceError(
            f"The pull step names the Prefect variable {name!r}, which does not exist; create it."
        )
    return str(variable.value)


def note_missing_password(stage: Stage) -> None:
    """Say that Yeedu flows cannot log in when neither the environment nor the server has what they need."""
    if stage.configuration.password or stage.configuration.token:
        return
    connection, password = map(stage.block_names.of, (CONNECTION_BLOCK, PASSWORD_BLOCK))
    if read_secret(stage.client, password) is None and not named_token_block(
        read_secret(stage.client, connection)
    ):
        detail = (
            "absent: set YEEDU_PASSWORD_FILE, or YEEDU_TOKEN_FILE for single sign-on, or create it in the UI"
        )
        stage.report.add("block", password, Outcome.KEPT, detail)


def note_missing_blocks(stage: Stage, resolved: Resolved, environment: str, token: str | None) -> None:
    """Say which blocks the deployments name and the server lacks, when this run does not make them.

    Args:
        stage: What this run of the deployer shares.
        resolved: The deployments.
        environment: The environment that they are of; empty for the platform itself.
        token: The block whose token their git_clone steps get, or None.
    """
    used = {
        name
        for definition in resolved.definitions.values()
        for name in stage.block_names.used(list(definition.parameters.values()))
    }
    has_own = bool(stage.block_names.environment)
    command = f"make deploy ENVIRONMENT={environment}" if has_own else "make deploy"
    for name in sorted(used | ({token} if token else set())):
        if read_secret(stage.client, name) is None:
            detail = f"absent: `{command}` on the platform's machine makes it"
            stage.report.add("block", name, Outcome.KEPT, detail)


def token_block(stage: Stage, blocks: Mapping[str, BlockPlan], *, looks_on_server: bool) -> str | None:
    """Return the Secret block whose token git_clone steps get; None for an open repository.

    Args:
        stage: What this run of the deployer shares.
        blocks: The blocks that are configured here.
        looks_on_server: Whether a block that the server has counts too: where blocks are left as they are, so
            is the token, which whoever registers a flow need not know.
    """
    name = stage.block_names.of(GIT_TOKEN_BLOCK)
    if name in blocks or (looks_on_server and read_secret(stage.client, name) is not None):
        return name
    return None


def _read_fields(stage: Stage, kind: str, name: str) -> dict[str, Any]:
    with explained(f"The block {name!r} of type {kind!r} could not be read", quote_answer=False):
        try:
            return stage.client.read_block_document_by_name(name, kind, include_secrets=True).data
        except ObjectNotFound:
            hint = "; create it in the UI, or set GITHUB_TOKEN_FILE" if (kind, name) == GITHUB_ADDRESS else ""
            raise SourceError(
                f"The pull step names the {kind} block {name!r}, which does not exist{hint}."
            ) from None


def _kept_secret(stage: Stage, value: str) -> str:
    stage.report.secrets = (*stage.report.secrets, value)
    return value
