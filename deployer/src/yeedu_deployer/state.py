"""Keeps what was applied last in a Secret block on the server, under a lock that one deployer holds.

A Secret block is encrypted, has no size limit, and is part of the server's backup. Fingerprints of
definitions are plain hashes; of credentials only a salted slow hash is kept.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any, Self, cast
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.exceptions import ObjectAlreadyExists
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from yeedu_deployer.errors import ServerError
from yeedu_deployer.server import SECRET, explained, read_secret, write_block

BLOCK_NAME, LOCK_NAME = "yeedu-deployer-state", "yeedu_deployer_lock"
FORMAT = 2
RENEW_SECONDS, STALE_SECONDS, WAIT_SECONDS, POLL_SECONDS = 5.0, 20.0, 600.0, 0.2


class Kind(StrEnum):
    """The kinds of objects that the deployer manages, as reports name them."""

    BLOCK = "block"
    POOL = "work pool"
    DEPLOYMENT = "deployment"
    SCHEDULE = "schedule"
    AUTOMATION = "automation"
    BLOCK_TYPE = "block type"


class Applied(BaseModel):
    """One object as it was last applied: fingerprints of its fields, and of those of each schedule, by slug.

    An object of the same name with another id is someone else's; an empty id is unknown. `created` tells
    whether the deployer made it, and `scope` its owner: for deployments, the `name` of their file.
    """

    id: str = ""
    created: bool = False
    scope: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    parts: dict[str, dict[str, str]] = Field(default_factory=dict)


class State(BaseModel):
    """Everything that was applied so far, by kind and key; `serial` counts the writes."""

    format: int = FORMAT
    serial: int = 0
    objects: dict[Kind, dict[str, Applied]] = Field(default_factory=dict[Kind, dict[str, Applied]])
    _base: dict[Kind, dict[str, Applied]] = PrivateAttr(default_factory=dict[Kind, dict[str, Applied]])

    @model_validator(mode="before")
    @classmethod
    def _from_format_1(cls, stored: Any) -> Any:
        old = cast("dict[str, Any]", stored)
        if not isinstance(stored, dict) or old.get("format") != 1:
            return old
        return {
            "objects": {
                Kind.BLOCK: {
                    name: {"fields": {"value": f"scrypt${one['salt']}${one['digest']}"}}
                    for name, one in old.get("blocks", {}).items()
                },
                Kind.POOL: {name: {"fields": fields} for name, fields in old.get("pools", {}).items()},
                Kind.DEPLOYMENT: {
                    key: {**one, "scope": one.get("project", ""), "parts": one.get("schedules", {})}
                    for key, one in old.get("deployments", {}).items()
                },
                Kind.AUTOMATION: old.get("automations", {}),
                Kind.BLOCK_TYPE: {
                    slug: {"fields": {"schema": one}} for slug, one in old.get("block_types", {}).items()
                },
            }
        }

    @classmethod
    def load(cls, client: SyncPrefectClient, environment: str = "") -> Self:
        """Return the state of an environment, or an empty one if the server has none yet.

        Each environment has a block of its own, so that two of them may be applied at the same time.
        """
        name = block_name(environment)
        stored = read_secret(client, name)
        try:
            state = cls.model_validate(stored or {})
        except ValidationError:
            raise ServerError(
                f"The Secret block {name!r} does not hold what the deployer wrote; delete it in the "
                "UI, and the next run finds out anew what is there."
            ) from None
        if state.format != FORMAT:
            raise ServerError(
                f"The Secret block {name!r} was written by another version of the deployer "
                f"(format {state.format}, not {FORMAT}); use that version."
            )
        state._base = state.model_copy(deep=True).objects
        return state

    def of(self, kind: Kind) -> dict[str, Applied]:
        """Return what was applied of one kind, by key."""
        return self.objects.setdefault(kind, {})

    def save(self, client: SyncPrefectClient, environment: str = "") -> None:
        """Write what this run has changed; keep what another one has written meanwhile."""
        changed = [
            (kind, key)
            for kind in Kind
            for key in {**self._base.get(kind, {}), **self.of(kind)}
            if self.of(kind).get(key) != self._base.get(kind, {}).get(key)
        ]
        if not changed:
            return
        merged = type(self).load(client, environment)
        for kind, key in changed:
            merged.of(kind).pop(key, None)
            if key in self.of(kind):
                merged.of(kind)[key] = self.of(kind)[key]
        merged.serial += 1
        write_block(SECRET, block_name(environment), merged.model_dump(mode="json"))
        self._base = self.model_copy(deep=True).objects


def block_name(environment: str = "") -> str:
    """Return the name of the Secret block with an environment's state; empty means the platform itself."""
    return f"{BLOCK_NAME}-{environment}" if environment else BLOCK_NAME


@contextmanager
def locked_state(client: SyncPrefectClient, environment: str = "") -> Generator[State]:
    """Lock the state of an environment for this deployer, and save it at the end, even after a failure.

    The lock is a variable on the server, which can be created only once. Its holder renews it; one that is
    not renewed was left by a deployer that was killed, and is deleted.
    """
    name = re.sub(r"[^a-z0-9_]", "_", f"{LOCK_NAME}_{environment}".lower()).rstrip("_")
    lock, is_done = _acquire(client, name), threading.Event()
    renewer = threading.Thread(target=_renew, args=(client, lock, is_done), daemon=True)
    renewer.start()
    try:
        state = State.load(client, environment)
        try:
            yield state
        finally:
            state.save(client, environment)
    finally:
        is_done.set()
        renewer.join(RENEW_SECONDS)
        _delete(client, lock)


def _acquire(client: SyncPrefectClient, name: str) -> UUID:
    holder = f"{socket.gethostname()}, process {os.getpid()}, {uuid4().hex}"
    seen, since = None, time.monotonic()
    deadline = since + WAIT_SECONDS
    while True:
        with explained(f"The lock {name!r} of the deployer's state could not be taken"):
            try:
                return client.create_variable(VariableCreate(name=name, value=holder)).id
            except ObjectAlreadyExists:
                held = client.read_variable_by_name(name)
        if held is None:
            continue
        if held.value == holder:  # the answer to the first request was lost
            return held.id
        if seen != (held.id, held.updated):
            seen, since = (held.id, held.updated), time.monotonic()
        elif time.monotonic() > since + STALE_SECONDS:
            _delete(client, held.id)
        if time.monotonic() > deadline:
            raise ServerError(
                f"Another deployer ({held.value}) has not ended within {WAIT_SECONDS:g} seconds; "
                f"end it, or delete the variable {name!r} in the UI."
            )
        time.sleep(POLL_SECONDS)


def _renew(client: SyncPrefectClient, lock: UUID, is_done: threading.Event) -> None:
    while not is_done.wait(RENEW_SECONDS):
        with suppress(httpx.HTTPError):
            client.request("PATCH", cast("Any", f"/variables/{lock}"), json={"tags": [uuid4().hex]})


def _delete(client: SyncPrefectClient, lock: UUID) -> None:
    """Release a lock; if that fails, it soon counts as a dead deployer's."""
    with suppress(httpx.HTTPError):
        client.request("DELETE", cast("Any", f"/variables/{lock}"))
