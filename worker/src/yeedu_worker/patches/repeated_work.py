"""Does work once that Prefect repeats with the same result.

Each function changes only this process, and nothing that a flow could see. docs/speed.md says how much each
of them saves.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

if TYPE_CHECKING:
    from collections.abc import Generator
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

# The deployments that were read for the flow run that the current task claims.
_claim: ContextVar[dict[UUID | str, DeploymentResponse] | None] = ContextVar("claim", default=None)
_SSL = Place("prefect.client.orchestration:ssl")
_DEFAULT_STORAGE, _DEFAULT_STORAGE_AWAITED = (
    Place(f"prefect.results:{name}", "()")
    for name in (
        "_read_server_default_result_storage_block_id",
        "_aread_server_default_result_storage_block_id",
    )
)
_BEGINNING_SECONDS = 10.0
_VARIABLES = Place(
    "prefect.settings.base:PrefectBaseSettings.to_environment_variables",
    "(self, exclude_unset=, include_secrets=, include_aliases=)",
)


@PATCHES.declare(
    "certificates",
    _SSL,
    Place("prefect.client.orchestration:PrefectClient.__init__", names=("ssl", "create_default_context")),
    Place("prefect.client.orchestration:SyncPrefectClient.__init__", names=("ssl", "create_default_context")),
    purpose="a file of certificates is read once, not for every client; no setting does that",
)
def share_certificates(*, at_once: bool = False) -> None:
    """Let all of Prefect's clients share one TLS context for each file of certificates.

    Otherwise each client reads some 140 certificates, even for a server without TLS, and a flow run creates
    several clients. Prefect changes none of these contexts; flows have their own.

    Args:
        at_once: Whether to read the file that the settings name right now, for forks of this process.
    """
    import certifi
    from prefect.settings import get_current_settings

    contexts: dict[tuple[str, int, int], ssl.SSLContext] = {}

    def create_default_context(*, cafile: str | None = None) -> ssl.SSLContext:
        """Return the context of this file; without a file, a new one, which Prefect changes."""
        if cafile is None:
            return ssl.create_default_context()
        status = os.stat(cafile)  # noqa: PTH116 - raises what `ssl` raises for a missing file
        version = (cafile, status.st_mtime_ns, status.st_size)
        if version not in contexts:
            contexts[version] = ssl.create_default_context(cafile=cafile)
        return contexts[version]

    names = {name: getattr(ssl, name) for name in dir(ssl)}
    _SSL.replace(SimpleNamespace(**{**names, "create_default_context": create_default_context}))
    if at_once:
        with contextlib.suppress(OSError):  # the client that needs it reports that
            create_default_context(cafile=get_current_settings().api.ssl_cert_file or certifi.where())


@PATCHES.declare(
    "default of results",
    _DEFAULT_STORAGE,
    _DEFAULT_STORAGE_AWAITED,
    *(
        Place(f"prefect.results:{name}", "()", (place.path.rpartition(":")[2],))
        for name, place in (
            ("_get_default_result_storage", _DEFAULT_STORAGE),
            ("_get_default_persist_result", _DEFAULT_STORAGE),
            ("_aget_default_result_storage", _DEFAULT_STORAGE_AWAITED),
            ("_aget_default_persist_result", _DEFAULT_STORAGE_AWAITED),
        )
    ),
    purpose="a flow run that begins asks once where the server has results kept, not twice",
)
def read_default_storage_once() -> None:
    """Cache the server's default storage of results, for as long as a run takes to begin."""
    read, aread = _DEFAULT_STORAGE.find(), _DEFAULT_STORAGE_AWAITED.find()
    known: dict[object, tuple[float, UUID | None]] = {}

    def question() -> object:
        from prefect.settings import get_current_settings

        return get_current_settings().api.url

    def is_known(asked: object) -> bool:
        return asked in known and time.monotonic() - known[asked][0] < _BEGINNING_SECONDS

    def read_once() -> UUID | None:
        if not is_known(asked := question()):
            known[asked] = (time.monotonic(), read())
        return known[asked][1]

    async def aread_once() -> UUID | None:
        if not is_known(asked := question()):
            known[asked] = (time.monotonic(), await aread())
        return known[asked][1]

    _DEFAULT_STORAGE.replace(read_once)
    _DEFAULT_STORAGE_AWAITED.replace(aread_once)


@PATCHES.declare(
    "settings as variables",
    _VARIABLES,
    purpose="Prefect's settings are walked once, not three times for each flow run",
)
def remember_settings_variables() -> None:
    """Cache Prefect's settings as environment variables, for the settings object that was last asked.

    Prefect walks all of its settings whenever it passes them to a process, three times for each flow run.
    When settings change, the object that holds them is replaced, never changed itself.
    """
    work_out = _VARIABLES.find()
    known: dict[object, tuple[object, dict[str, str]]] = {}

    def to_environment_variables(self: object, *options: bool, **named_options: bool) -> dict[str, str]:
        """Convert the settings to environment variables; see ``PrefectBaseSettings``."""
        question = (type(self), options, tuple(sorted(named_options.items())))
        settings, variables = known.get(question, (None, cast("dict[str, str]", {})))
        if settings is not self:
            variables = work_out(self, *options, **named_options)
            known[question] = (self, variables)
        return dict(variables)

    _VARIABLES.replace(to_environment_variables)


@contextlib.contextmanager
def one_claim() -> Generator[None]:
    """Have a client of `read_deployments_once` read each deployment only once within this block."""
    token = _claim.set({})
    try:
        yield
    finally:
        _claim.reset(token)


@PATCHES.declare(
    "one read of a deployment",
    Place("prefect.client.orchestration:PrefectClient.read_deployment", "(self, deployment_id)"),
    purpose="a worker reads the deployment of a flow run once, not twice",
)
def read_deployments_once(client: PrefectClient) -> None:
    """Have a worker's client read a claimed flow run's deployment once instead of twice.

    A worker reads it to check that it exists, and right after that for its variables.

    Args:
        client: The worker's; changed in place.
    """
    read = client.read_deployment

    async def read_deployment(deployment_id: UUID | str) -> DeploymentResponse:
        """Return a deployment; see ``PrefectClient``."""
        known = _claim.get()
        if known is None:
            return await read(deployment_id)
        if deployment_id not in known:
            known[deployment_id] = await read(deployment_id)
        return known[deployment_id]

    client.read_deployment = read_deployment


def complete_models() -> None:
    """Build the validators of all imported models of Prefect, which are otherwise built at first use."""
    from pydantic import BaseModel

    pending: list[type[BaseModel]] = [BaseModel]
    seen: set[type[BaseModel]] = set()
    while pending:
        for model in pending.pop().__subclasses__():
            if model in seen:
                continue
            seen.add(model)
            pending.append(model)
            if model.__module__.startswith("prefect.") and not model.__pydantic_complete__:
                model.model_rebuild(raise_errors=False)
