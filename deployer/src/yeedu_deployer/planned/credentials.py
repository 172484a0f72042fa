"""The blocks of credentials and notification targets.

They are made from the environment, and left alone once someone edited them in the UI.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient

from yeedu_deployer.applied.typed_blocks import EMAIL, GITHUB, SECRET, SLACK, WEBHOOK, read_block, write_block
from yeedu_deployer.configuration import Configuration
from yeedu_deployer.declared.block_names import (
    CONNECTION_BLOCK,
    GIT_TOKEN_BLOCK,
    PASSWORD_BLOCK,
    TOKEN_BLOCK,
    WAREHOUSE_BLOCK,
    BlockNames,
)
from yeedu_deployer.state import AppliedSecret

TOKEN_KEY = "token_block_name"  # noqa: S105 - a key of the connection details
GITHUB_BLOCK = "github"
SLACK_BLOCK, WEBHOOK_BLOCK, EMAIL_BLOCK = "alerts-slack", "alerts-webhook", "alerts-email"
# The blocks that alerts are sent through, by the slug of their type.
NOTIFICATION_BLOCKS = {SLACK: SLACK_BLOCK, WEBHOOK: WEBHOOK_BLOCK, EMAIL: EMAIL_BLOCK}


class BlockAction(StrEnum):
    """What is to be done with one block."""

    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    KEEP = "keep"


@dataclass(frozen=True)
class BlockPlan:
    """One block, its configured value, and what is to be done.

    Attributes:
        name: The block's name.
        value: The configured value.
        action: What is to be done; `KEEP` means that the server has another value that someone put there.
        stored: The value that the server has now, or None.
        kind: The slug of the block's type.
    """

    name: str
    action: BlockAction
    value: object = field(repr=False)
    stored: object = field(default=None, repr=False)
    kind: str = SECRET

    @property
    def effective(self) -> object:
        """The value that flows will see once the plan is applied."""
        return self.value if self.action in (BlockAction.CREATE, BlockAction.CHANGE) else self.stored


def configured_blocks(
    configuration: Configuration, names: BlockNames | None = None
) -> dict[str, tuple[str, object]]:
    """List the blocks that the environment gives values for, each with the slug of its type.

    Args:
        configuration: What the environment says.
        names: How the blocks are called. An environment's own are without those of alerts.
    """
    names = names or BlockNames()
    secrets: dict[str, Any] = {
        CONNECTION_BLOCK: {
            "username": configuration.username,
            # Yeedu's own guides write the words, and its operators compare with them.
            "YEEDU_VERIFY_SSL": "true" if configuration.verify_ssl else "false",
            "YEEDU_SSL_CERT_FILE": configuration.ssl_cert_file,
            # By this the operator logs in with the token, in flows too that name a password's block alone.
            **({TOKEN_KEY: TOKEN_BLOCK} if configuration.token else {}),
        },
        PASSWORD_BLOCK: configuration.password,
        TOKEN_BLOCK: configuration.token,
        GIT_TOKEN_BLOCK: configuration.git_token,
        WAREHOUSE_BLOCK: _warehouse(configuration),
    }
    found: dict[str, tuple[str, object]] = {
        names.of(name): (SECRET, names.within(value)) for name, value in secrets.items() if value is not None
    }
    if names.environment:
        return found
    if configuration.github_token:
        found[GITHUB_BLOCK] = (GITHUB, {"token": configuration.github_token})
    return found | _notification_targets(configuration)


def _notification_targets(configuration: Configuration) -> dict[str, tuple[str, object]]:
    found: dict[str, tuple[str, object]] = {}
    if configuration.slack_webhook_url:
        found[SLACK_BLOCK] = (SLACK, {"url": configuration.slack_webhook_url})
    if configuration.webhook_url:
        # Its address may hold a token, and this type keeps only what is under `secrets` out of sight.
        found[WEBHOOK_BLOCK] = (
            WEBHOOK,
            {
                "name": "yeedu-prefect",
                "url": "{{ address }}",
                "json_data": {"subject": "{{ subject }}", "body": "{{ body }}"},
                "secrets": {"address": configuration.webhook_url},
            },
        )
    if configuration.sendgrid_key and configuration.email_to:
        found[EMAIL_BLOCK] = (
            EMAIL,
            {
                "api_key": configuration.sendgrid_key,
                "sender_email": configuration.email_from,
                "to_emails": list(configuration.email_to),
            },
        )
    return found


def _warehouse(configuration: Configuration) -> str | None:
    """Return the block's JSON as a text: the API hides that, but shows what a Secret's dictionary holds."""
    if not configuration.warehouse_url:
        return None
    details = {"url": configuration.warehouse_url, "password": configuration.warehouse_password or ""}
    return json.dumps(details)


def decide(value: object, stored: object | None, applied: AppliedSecret | None) -> BlockAction:
    """Decide about one block from the configured value, the server's value, and what was last applied."""
    if stored is None:
        return BlockAction.CREATE
    if stored == value:
        return BlockAction.UNCHANGED
    if applied is None or applied.matches(value):
        return BlockAction.KEEP
    return BlockAction.CHANGE


def plan_blocks(
    client: SyncPrefectClient,
    configuration: Configuration,
    applied: Mapping[str, AppliedSecret],
    names: BlockNames | None = None,
) -> dict[str, BlockPlan]:
    """Compare every configured block with the server."""
    plans: dict[str, BlockPlan] = {}
    for name, (kind, value) in configured_blocks(configuration, names).items():
        stored = read_block(client, kind, name, value)
        plans[name] = BlockPlan(name, decide(value, stored, applied.get(name)), value, stored, kind)
    return plans


def named_token_block(details: object) -> str:
    """Return the token's block that connection details name, as the operator reads them; empty for none."""
    if isinstance(details, str):
        try:
            details = json.loads(details)
        except ValueError:
            return ""
    name = cast("dict[str, object]", details).get(TOKEN_KEY) if isinstance(details, dict) else None
    return str(name or "").strip().lower().replace("_", "-")


def login_notes(blocks: Mapping[str, BlockPlan], names: BlockNames) -> dict[str, str]:
    """Say of the password's and the token's block which one flows log in to Yeedu with, given a token."""
    connection, password, token = map(names.of, (CONNECTION_BLOCK, PASSWORD_BLOCK, TOKEN_BLOCK))
    if token not in blocks:
        return {}
    if named_token_block(blocks[connection].effective) == token:
        return {token: "flows log in to Yeedu with it", password: f"not used: {token} is"}
    how = f'write "{TOKEN_KEY}": "{token}" into the JSON of {connection}, which was edited'
    return {token: f"not used: {how}"}


def apply_block(plan: BlockPlan) -> None:
    """Write one block if its plan says so.

    Raises:
        ServerError: The server refused it.
    """
    if plan.action in (BlockAction.CREATE, BlockAction.CHANGE):
        write_block(plan.kind, plan.name, plan.value)


def remember(plan: BlockPlan, applied: dict[str, AppliedSecret]) -> bool:
    """Remember the configured value of a block; tells whether the memory changed."""
    before = applied.get(plan.name)
    if before is not None and before.matches(plan.value):
        return False
    applied[plan.name] = AppliedSecret.of(plan.value)
    return True
