"""The Swarm's secrets follow `.env`: made once, new with a new value, refused where they cannot change."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from local.errors import CommandError
from local.settings.platform import Settings
from local.stack import secrets

JSON = dict[str, Any]
STACK = "yeedu-prefect"
MODEL: JSON = {"services": {"worker": {"secrets": [{"source": "ca-cert"}]}}, "secrets": {"ca-cert": {}}}
KEY = "Jx2gl5V6kEV1mhHcF0Rz5vV7DtQp8PqkXgTg1CEtKVs="


class Swarm:
    """Keeps secrets as a Swarm does: none is empty, none is read, and none that is used is deleted."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.labels: dict[str, JSON] = {}
        self.used: set[str] = set()

    def docker(self, *arguments: str, content: str | None = None) -> str:
        what = arguments[1]
        if what == "ls":
            return "\n".join(self.values)
        if what == "rm":
            if arguments[2] in self.used:
                raise CommandError("docker secret: is in use by the following service")
            del self.values[arguments[2]], self.labels[arguments[2]]
            return ""
        assert what == "create"
        *options, name, standard_input = arguments[2:]
        assert standard_input == "-"
        assert content, "a Swarm takes no empty secret"
        assert name not in self.values
        self.values[name] = content
        self.labels[name] = dict(option.removeprefix("--label=").split("=", 1) for option in options)
        return ""

    def inspected(self, kind: str, names: list[str]) -> list[JSON]:
        assert kind == "secret"
        return [{"Spec": {"Name": name, "Labels": self.labels[name]}} for name in names]

    def told(self) -> str:
        return json.dumps([self.labels, list(self.values)])


@pytest.fixture
def swarm(monkeypatch: pytest.MonkeyPatch) -> Swarm:
    swarm = Swarm()
    monkeypatch.setattr(secrets, "docker", swarm.docker)
    monkeypatch.setattr(secrets, "inspected", swarm.inspected)
    monkeypatch.setattr(secrets, "_PASSES", 1)
    return swarm


def brought(model: JSON = MODEL, **settings: str) -> dict[str, str]:
    return secrets.create_secrets(model, STACK, Settings(settings))


def test_what_nobody_gives_is_made_once_or_off(swarm: Swarm) -> None:
    names = brought()
    assert swarm.values[names["api/auth-string"]] == "\n"
    assert names["deployer/yeedu-password"] == names["mock/yeedu-password"]
    assert names["deployer/warehouse-password"] == names["warehouse/postgres-password"]
    assert len(swarm.values[names["database/postgres-password"]]) > 20
    shared = ["deployer/yeedu-password", "deployer/warehouse-password"]
    assert len(set(names.values())) == len(names) - len(shared), "no service has one secret twice"
    assert brought() == names
    assert names.keys() == secrets.first_names(MODEL, STACK).keys()


def test_a_new_value_is_a_new_secret_and_the_old_one_goes_once_nobody_has_it(swarm: Swarm) -> None:
    first = brought(PREFECT_API_AUTH_STRING="admin:the-first-password")["api/auth-string"]
    assert first == brought(PREFECT_API_AUTH_STRING="admin:the-first-password")["api/auth-string"]
    names = brought(PREFECT_API_AUTH_STRING="admin:the-second-password")
    assert (first, names["api/auth-string"]) == (
        f"{STACK}_api-auth-string-1",
        f"{STACK}_api-auth-string-2",
    )
    assert "the-first-password" not in swarm.told()
    assert "the-second-password" not in swarm.told()
    swarm.used = {first}
    secrets.forget_superseded(STACK, names)
    assert first in swarm.values
    swarm.used = set()
    secrets.forget_superseded(STACK, names)
    assert first not in swarm.values
    off = brought()["api/auth-string"]
    assert swarm.values[off] == "\n", "no longer given: no login"


def test_what_the_data_were_made_with_does_not_change(swarm: Swarm) -> None:
    brought()
    with pytest.raises(
        CommandError, match=r"yeedu-prefect_server-encryption-key-1 is another one than \.env"
    ):
        brought(PREFECT_SERVER_ENCRYPTION_KEY=KEY)


def test_a_key_that_is_given_from_the_start_may_stay(swarm: Swarm) -> None:
    names = brought(PREFECT_SERVER_ENCRYPTION_KEY=KEY)
    assert brought(PREFECT_SERVER_ENCRYPTION_KEY=KEY) == names
    assert brought() == names
    assert swarm.values[names["server/encryption-key"]] == KEY


def test_a_token_of_another_yeedu_has_no_password_of_the_mocks_beside_it(swarm: Swarm) -> None:
    names = brought(YEEDU_TOKEN="its-token")
    assert swarm.values[names["deployer/yeedu-token"]] == "its-token"
    assert swarm.values[names["deployer/yeedu-password"]] == "\n"


def test_a_database_of_ones_own_has_its_password_given_and_changed(swarm: Swarm) -> None:
    model = with_setting("OWN_DATABASE")
    with pytest.raises(CommandError, match="POSTGRES_PASSWORD is not set"):
        brought(model)
    names = [brought(model, POSTGRES_PASSWORD=value)["database/postgres-password"] for value in "ab"]
    assert len(set(names)) == 2


def with_setting(name: str) -> JSON:
    return {**MODEL, "services": {**MODEL["services"], "secrets": {"environment": {name: "yes"}}}}


def is_list_of(users: str, password: str) -> bool:
    return hashlib.sha256(password.encode()).hexdigest() in users


@pytest.mark.parametrize("made", ["redis/redis-password", "redis/users.acl"])
def test_what_a_cut_kept_from_being_made_is_made_the_next_time(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    last = secrets.first_names(MODEL, STACK)[made]

    def cut(*arguments: str, content: str | None = None) -> str:
        if last in swarm.values:
            raise KeyboardInterrupt
        return swarm.docker(*arguments, content=content)

    with monkeypatch.context() as patched:
        patched.setattr(secrets, "docker", cut)
        with pytest.raises(KeyboardInterrupt):
            brought()
    names = brought()
    assert set(names.values()) <= set(swarm.values)
    users, password = (swarm.values[names[f"redis/{name}"]] for name in ("users.acl", "redis-password"))
    assert is_list_of(users, password)
    assert brought() == names


def test_a_redis_of_ones_own_has_its_password_or_none(swarm: Swarm) -> None:
    own = with_setting("OWN_REDIS")
    for before in (own, MODEL):  # a Swarm that has none yet, and one that had the platform's
        brought(before)
        names = brought(own)
        assert swarm.values[names["redis/redis-password"]] == "\n"
        assert swarm.values[names["redis/users.acl"]] == "\n"
        assert swarm.values[brought(own, REDIS_PASSWORD="theirs")["redis/redis-password"]] == "theirs"
    brought(own)
    names = brought()
    assert len(swarm.values[names["redis/redis-password"]]) > 20, "the platform's own has one again"
    assert is_list_of(swarm.values[names["redis/users.acl"]], swarm.values[names["redis/redis-password"]])


def test_files_are_taken_as_with_compose(swarm: Swarm, tmp_path: Path) -> None:
    file, certificate = tmp_path / "login", tmp_path / "ca.pem"
    file.write_text("admin:from-a-file\n", encoding="utf-8")
    certificate.write_text("its certificate\n", encoding="utf-8")
    model: JSON = {**MODEL, "secrets": {"ca-cert": {"file": str(certificate)}}}
    names = brought(model, PREFECT_API_AUTH_STRING_FILE=str(file))
    assert swarm.values[names["api/auth-string"]] == "admin:from-a-file"
    assert swarm.values[names["ca-cert"]] == "its certificate\n"
    with pytest.raises(CommandError, match="there is no such file"):
        brought(GITHUB_TOKEN_FILE=str(tmp_path / "none"))


def test_a_name_that_a_swarm_does_not_take_is_refused() -> None:
    with pytest.raises(CommandError, match=r"COMPOSE_PROJECT_NAME=x+ is too long"):
        secrets.first_names(MODEL, "x" * 40)
