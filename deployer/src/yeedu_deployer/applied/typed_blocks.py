"""Blocks of every type that the deployer makes: secrets, notification targets, a token for GitHub."""

from importlib import import_module
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from yeedu_deployer.applied.secret_blocks import read_secret, write_secret
from yeedu_deployer.server import explained

SECRET = "secret"  # noqa: S105 - a block type's slug
SLACK, WEBHOOK, EMAIL = "slack-webhook", "custom-webhook", "sendgrid-email"
GITHUB = "github-credentials"
# Imported when one is written: each module takes half a second or more, and most runs write none.
CLASSES = {
    SLACK: ("prefect.blocks.notifications", "SlackWebhook"),
    WEBHOOK: ("prefect.blocks.notifications", "CustomWebhookNotificationBlock"),
    EMAIL: ("prefect.blocks.notifications", "SendgridEmail"),
    GITHUB: ("prefect_github", "GitHubCredentials"),
}


def read_block(client: SyncPrefectClient, kind: str, name: str, wanted: object) -> object | None:
    """Read what a block has of what is wanted, or None when there is no such block.

    Args:
        client: An open client.
        kind: The slug of the block's type.
        name: The block's name.
        wanted: The configured value; of a block with fields only the configured ones are compared.
    """
    if kind == SECRET:
        return read_secret(client, name)
    with explained(f"The {kind} block {name!r} could not be read", quote_answer=False):
        try:
            data = client.read_block_document_by_name(name, kind, include_secrets=True).data
        except ObjectNotFound:
            return None
    fields = cast("dict[str, object]", wanted)
    return {field: data.get(field) for field in fields}


def write_block(kind: str, name: str, value: object) -> None:
    """Create or replace a block; fields that are not configured get their defaults.

    Raises:
        ServerError: The server refused it; the sentence never holds a value.
    """
    if kind == SECRET:
        write_secret(name, value)
        return
    module, class_name = CLASSES[kind]
    block_type: Any = getattr(import_module(module), class_name)
    with explained(f"The {kind} block {name!r} could not be written", quote_answer=False):
        block_type.model_validate(value).save(name, overwrite=True)


def block_id(client: SyncPrefectClient, kind: str, name: str) -> str | None:
    """Read a block's id, or None when there is no such block."""
    with explained(f"The {kind} block {name!r} could not be read", quote_answer=False):
        try:
            return str(client.read_block_document_by_name(name, kind, include_secrets=False).id)
        except ObjectNotFound:
            return None
