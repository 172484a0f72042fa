"""Creates the platform's secrets on a Swarm, where services read them from the same files as with Compose.

A Swarm neither reveals nor changes a secret's value. So each has a number in its name, a new value gets the
next number, and a label holds a salted, slow hash, as for passwords, with which values are compared.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from local.errors import CommandError
from local.processes.preparation import offer_file
from local.script import load_script
from local.settings.platform import ROOT, Settings
from local.stack.swarm import docker, inspected

_STACK, _KEY, _NUMBER, _PRINT = (f"yeedu-prefect.{name}" for name in ("stack", "secret", "number", "print"))
_PASSES = 200_000
# An unset secret is an empty file, and a Swarm has no empty ones. Each unset one is a separate secret: if a
# service had one twice, `docker stack deploy` would swap the files at random, and replace its tasks for that.
_NOTHING = "\n"
_LONGEST = 64


@dataclass(frozen=True)
class Held:
    """A secret that the Swarm has."""

    name: str
    number: int
    print: str


def keys_of(model: Mapping[str, Any]) -> dict[str, str]:
    """Return the file of each secret that the compose files mount as such, by its name there."""
    used = {
        secret["source"]
        for name, service in model["services"].items()
        for secret in service.get("secrets", [])
        if name != "secrets"
    }
    return {name: model["secrets"][name].get("file", "") for name in sorted(used)}


def first_names(model: Mapping[str, Any], stack: str) -> dict[str, str]:
    """Return the name that each secret gets on a Swarm that has none, by its key; no value is needed."""
    keys = [*(f"{secret.folder}/{secret.name}" for secret in _script().SECRETS), *keys_of(model)]
    return {key: _name(stack, key, 1) for key in keys}


def create_secrets(model: Mapping[str, Any], stack: str, settings: Settings) -> dict[str, str]:
    """Create the secrets that are missing or have a new value, and return the name of each, by its key.

    Args:
        model: The configuration of the compose project.
        stack: The stack's name.
        settings: Where the user's own secrets are.

    Raises:
        CommandError: One of the user's cannot be used, or differs from one that cannot change.
    """
    script, held, names = _script(), _held(stack), dict[str, str]()
    variables: Mapping[str, str] = model["services"].get("secrets", {}).get("environment", {})
    has_own_database, has_own_redis = (bool(variables.get(name)) for name in ("OWN_DATABASE", "OWN_REDIS"))
    values = {
        secret.setting: value for secret in script.SECRETS if (value := settings.get(secret.setting).strip())
    }
    store = _Store(stack, held)
    keys: dict[str, str] = {}
    off: set[str] = set()
    known: dict[str, str] = {}
    with TemporaryDirectory() as files:
        for secret in script.SECRETS:
            offer_file(settings, secret.setting, Path(files))
        try:
            for secret in script.SECRETS:
                key = keys[secret.setting] = f"{secret.folder}/{secret.name}"
                own = script.own_secret(secret, values, Path(files))
                is_theirs = has_own_database and secret.setting == "POSTGRES_PASSWORD"
                if is_theirs and not own:
                    raise CommandError("POSTGRES_PASSWORD is not set; give your database's")
                if own:
                    known[secret.setting] = own
                    names[key] = store.with_value(key, own, may_change=is_theirs or not secret.fixed)
                elif secret.generate and not (has_own_redis and secret.setting == "REDIS_PASSWORD"):
                    if any(store.lacks(one) for one in (key, *_formed_from(secret, script))):
                        known[secret.setting] = secret.generate()
                        names[key] = store.with_value(key, known[secret.setting])
                    else:
                        names[key] = store.any(key)
                elif secret.else_like and secret.unless in off | {""}:
                    other = known.get(secret.else_like, "")
                    names[key] = names[keys[secret.else_like]]
                    if secret.form is not str and secret.else_like in off:
                        names[key] = store.with_value(key, _NOTHING)
                    elif secret.form is not str:
                        names[key] = store.with_value(key, secret.form(other)) if other else store.any(key)
                else:
                    names[key] = store.with_value(key, _NOTHING)
                    off.add(secret.setting)
        except script.SecretError as error:
            raise CommandError(str(error)) from None
    for key, file in keys_of(model).items():
        content = Path(file).read_text(encoding="utf-8") if file else ""
        names[key] = store.with_value(key, content if content.strip() else _NOTHING)
    return names


def forget_superseded(stack: str, names: Mapping[str, str]) -> None:
    """Delete superseded secrets; the Swarm keeps any that a service still uses."""
    for held in _held(stack).values():
        if held.name not in names.values():
            try:
                docker("secret", "rm", held.name)
            except CommandError:
                continue


class _Store:
    """The secrets of a stack."""

    def __init__(self, stack: str, held: Mapping[tuple[str, int], Held]) -> None:
        self._stack = stack
        self._newest: dict[str, Held] = {}
        for (key, number), one in held.items():
            if key not in self._newest or number > self._newest[key].number:
                self._newest[key] = one

    def any(self, key: str) -> str:
        """Return the name of the newest secret with a key; empty if there is none."""
        return self._newest[key].name if key in self._newest else ""

    def lacks(self, key: str) -> bool:
        """Tell whether there is no secret with a key, or only an unset one."""
        return key not in self._newest or _is_print_of(self._newest[key].print, _NOTHING)

    def with_value(self, key: str, value: str, *, may_change: bool = True) -> str:
        """Return the newest secret with a key if it has the value, else a new one.

        Raises:
            CommandError: It has another value, and may not change.
        """
        newest = self._newest.get(key)
        if newest and _is_print_of(newest.print, value):
            return newest.name
        if newest and not may_change:
            raise CommandError(
                f"the secret {newest.name} is another one than .env gives, and the platform's data were made "
                "with it; leave it out of .env"
            )
        number = newest.number + 1 if newest else 1
        name, salt = _name(self._stack, key, number), secrets.token_hex(16)
        labels = {_STACK: self._stack, _KEY: key, _NUMBER: str(number), _PRINT: _print_of(value, salt)}
        options = [f"--label={label}={text}" for label, text in labels.items()]
        docker("secret", "create", *options, name, "-", content=value)
        self._newest[key] = Held(name, number, labels[_PRINT])
        return name


def _formed_from(secret: Any, script: ModuleType) -> list[str]:
    """Return the keys of the secrets derived from a secret's value, which a Swarm does not reveal later."""
    formed = (one for one in script.SECRETS if one.else_like == secret.setting and one.form is not str)
    return [f"{one.folder}/{one.name}" for one in formed]


def _held(stack: str) -> dict[tuple[str, int], Held]:
    listed = docker("secret", "ls", "--quiet", "--filter", f"label={_STACK}={stack}").split()
    found: dict[tuple[str, int], Held] = {}
    for one in inspected("secret", listed):
        labels: Mapping[str, str] = one["Spec"]["Labels"]
        number = int(labels[_NUMBER])
        found[labels[_KEY], number] = Held(one["Spec"]["Name"], number, labels[_PRINT])
    return found


def _name(stack: str, key: str, number: int) -> str:
    name = f"{stack}_{key.replace('/', '-')}-{number}"
    if len(name) > _LONGEST:
        raise CommandError(
            f"COMPOSE_PROJECT_NAME={stack} is too long: on a Swarm {name} may have {_LONGEST} characters"
        )
    return name


def _print_of(value: str, salt: str) -> str:
    return f"{salt}:{hashlib.pbkdf2_hmac('sha256', value.encode(), bytes.fromhex(salt), _PASSES).hex()}"


def _is_print_of(kept: str, value: str) -> bool:
    return secrets.compare_digest(kept, _print_of(value, kept.partition(":")[0]))


def _script() -> ModuleType:
    return load_script(ROOT / "server" / "generate_secrets.py")
