"""Plans the blocks of credentials and notification targets; tells what deployments will find in them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from prefect_yeedu import YeeduCredentials, YeeduJob, YeeduNotebook
from yeedu_deployer.declared.block_names import (
    CONNECTION_BLOCK,
    GIT_TOKEN_BLOCK,
    PASSWORD_BLOCK,
    TOKEN_BLOCK,
    WAREHOUSE_BLOCK,
    BlockNames,
)
from yeedu_deployer.declared.flow_source import OPEN_VARIABLE, VARIABLE
from yeedu_deployer.errors import SourceError
from yeedu_deployer.planned.plan import Observed, Outcome, Plan, fingerprint, fingerprints, plan_object
from yeedu_deployer.server import EMAIL, GITHUB, SECRET, SLACK, WEBHOOK, Lookup, explained, find_block
from yeedu_deployer.settings import Configuration
from yeedu_deployer.state import Applied, Kind

# The setting that may name a git token's file instead, by the type of its block.
TOKEN_SETTINGS = {SECRET: "FLOWS_GIT_TOKEN_FILE", GITHUB: "GITHUB_TOKEN_FILE"}
TOKEN_KEY = "token_block_name"  # noqa: S105 - a key of the connection details
GITHUB_BLOCK = "github"
SLACK_BLOCK, WEBHOOK_BLOCK, EMAIL_BLOCK = "alerts-slack", "alerts-webhook", "alerts-email"
# The blocks that alerts are sent through, by the slug of their type.
NOTIFICATION_BLOCKS = {SLACK: SLACK_BLOCK, WEBHOOK: WEBHOOK_BLOCK, EMAIL: EMAIL_BLOCK}
# Registered on the server, so that the UI offers forms for them.
BLOCK_TYPES = (YeeduCredentials, YeeduJob, YeeduNotebook)


def configured_blocks(
    configuration: Configuration, names: BlockNames | None = None
) -> dict[str, tuple[str, object]]:
    """Return the blocks that environment variables give values for, each with its type's slug and its value.

    An environment of environments.yaml has its own block names, and no blocks for alerts.
    """
    names = names or BlockNames()
    warehouse = {"url": configuration.warehouse_url, "password": configuration.warehouse_password or ""}
    secrets: dict[str, Any] = {
        CONNECTION_BLOCK: {
            "username": configuration.username,
            # As words: Yeedu's own guides write them so, and its operators compare with them.
            "YEEDU_VERIFY_SSL": "true" if configuration.verify_ssl else "false",
            "YEEDU_SSL_CERT_FILE": configuration.ssl_cert_file,
            # Makes the operator log in with the token, even in flows that name only a password block.
            **({TOKEN_KEY: TOKEN_BLOCK} if configuration.token else {}),
        },
        PASSWORD_BLOCK: configuration.password,
        TOKEN_BLOCK: configuration.token,
        GIT_TOKEN_BLOCK: configuration.git_token,
        # As a text: the API hides a text, but shows what a Secret's dictionary holds.
        WAREHOUSE_BLOCK: json.dumps(warehouse) if configuration.warehouse_url else None,
    }
    found: dict[str, tuple[str, object]] = {
        names.of(name): (SECRET, names.within(value)) for name, value in secrets.items() if value is not None
    }
    if names.environment:
        return found
    if configuration.github_token:
        found[GITHUB_BLOCK] = (GITHUB, {"token": configuration.github_token})
    if configuration.slack_webhook_url:
        found[SLACK_BLOCK] = (SLACK, {"url": configuration.slack_webhook_url})
    if configuration.webhook_url:
        # Its address may hold a token, and this type hides only what is under `secrets`.
        details = {
            "name": "yeedu-prefect",
            "url": "{{ address }}",
            "json_data": {"subject": "{{ subject }}", "body": "{{ body }}"},
            "secrets": {"address": configuration.webhook_url},
        }
        found[WEBHOOK_BLOCK] = (WEBHOOK, details)
    if configuration.sendgrid_key and configuration.email_to:
        receivers = {"sender_email": configuration.email_from, "to_emails": list(configuration.email_to)}
        found[EMAIL_BLOCK] = (EMAIL, {"api_key": configuration.sendgrid_key, **receivers})
    return found


def plan_blocks(
    client: SyncPrefectClient, configured: Mapping[str, tuple[str, object]], applied: Mapping[str, Applied]
) -> dict[str, Plan]:
    """Compare every configured block with the server; leave alone one that someone edited in the UI."""
    plans: dict[str, Plan] = {}
    for name, (kind, value) in configured.items():
        found, stored = find_block(client, kind, name), None
        if found:
            stored = found.data.get("value")
        if found and kind != SECRET:  # only what is configured is compared
            stored = {field: found.data.get(field) for field in cast("dict[str, object]", value)}
        observed = Observed(str(found.id), {"value": stored}) if found else None
        plan = Plan(Kind.BLOCK, name, name, {"value": value}, observed, identity={"type": kind})
        plans[name] = plan_object(plan, applied.get(name))
    return plans


def refused(fields: Mapping[str, object]) -> Applied:
    """Return the record of a block type that the server did not let this login register."""
    return Applied(id="refused", fields=fingerprints(fields))


def plan_block_types(client: SyncPrefectClient, applied: Mapping[str, Applied]) -> Iterator[Plan]:
    """Plan each block type that the server lacks, or whose fields changed since it was last registered."""
    for block_type in BLOCK_TYPES:
        slug = block_type.get_block_type_slug()
        with explained(f"The block type {slug!r} could not be read"):
            try:
                observed = Observed(str(client.read_block_type_by_slug(slug).id), {})
            except ObjectNotFound:
                observed = None
        fields = {"schema": fingerprint(block_type.model_json_schema())}
        if observed is None and applied.get(slug) == refused(fields):
            continue
        name = block_type.get_block_type_name()
        plan = Plan(Kind.BLOCK_TYPE, slug, name, fields, observed, identity={"class": block_type})
        yield plan_object(plan, applied.get(slug))


class Credentials(Lookup):
    """The credentials in blocks, as a worker would find them once the plan is applied."""

    def __init__(self, client: SyncPrefectClient, plans: Mapping[str, Plan], names: BlockNames) -> None:
        super().__init__(client)
        self._plans = plans
        self._names = names

    def fields(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return what a block will hold, by field; `None` if there will be no block."""
        plan = self._plans.get(name)
        if plan is None or plan.identity["type"] != kind:
            return super().fields(kind, name)
        value = plan.value("value", old=plan.action is Outcome.UNCHANGED)
        return {"value": value} if kind == SECRET else value

    def of_step(self, kind: str, name: str, key: str) -> object:
        """Return what a worker's git_clone step would get for a block or a variable; see `FindValue`.

        `key` is a path in the block's value, for example `token`; empty for all of it.
        """
        try:
            if kind not in (VARIABLE, OPEN_VARIABLE):
                return self.block(kind, name, key)
            value = str(self.variable(name))
        except LookupError as error:
            setting = TOKEN_SETTINGS.get(kind)
            hint = f", or name the token's file in {setting}" if setting else ""
            raise SourceError(f"The pull step needs a value: {error}{hint}.") from None
        if kind == VARIABLE:
            self.secrets.add(value)
        return value

    def _secret(self, name: str) -> Any:
        return (self.fields(SECRET, name) or {}).get("value")

    def git_token(self, *, only_planned: bool) -> str | None:
        """Return the name of the Secret block whose token git_clone steps get; None if there is none.

        With `only_planned` a block counts only if it is configured here.
        """
        name = self._names.of(GIT_TOKEN_BLOCK)
        is_there = name in self._plans if only_planned else self._secret(name) is not None
        return name if is_there else None

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return which of these Secret blocks will not exist."""
        return [name for name in sorted(set(names)) if self._secret(name) is None]

    def login_notes(self) -> dict[str, str]:
        """Return notes on which of the password and token blocks flows use for Yeedu, if there is a token."""
        connection, password, token = map(self._names.of, (CONNECTION_BLOCK, PASSWORD_BLOCK, TOKEN_BLOCK))
        if token not in self._plans:
            return {}
        if named_token_block(self._secret(connection)) == token:
            return {token: "flows log in to Yeedu with it", password: f"not used: {token} is"}
        how = f'write "{TOKEN_KEY}": "{token}" into the JSON of {connection}, which was edited'
        return {token: f"not used: {how}"}

    def lacks_login(self) -> str:
        """Return the password block's name if neither it nor a token exists, so that no flow can log in."""
        connection, password = map(self._names.of, (CONNECTION_BLOCK, PASSWORD_BLOCK))
        has_token = named_token_block(self._secret(connection))
        return "" if has_token or self._secret(password) is not None else password


def named_token_block(details: object) -> str:
    """Return the token block that connection details name, as the operator reads them; empty for none."""
    if isinstance(details, str):
        try:
            details = json.loads(details)
        except ValueError:
            return ""
    name = cast("dict[str, object]", details).get(TOKEN_KEY) if isinstance(details, dict) else None
    return str(name or "").strip().lower().replace("_", "-")
