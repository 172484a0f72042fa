"""The state between runs: older formats are read, changes are merged, and one deployer at a time holds it."""

import time

import pytest
from declared import HEAD, ONE, TWO
from prefect.client.schemas.actions import VariableCreate

from yeedu_deployer import state
from yeedu_deployer.errors import ServerError
from yeedu_deployer.server import SECRET, read_secret, write_block
from yeedu_deployer.state import Applied, Kind, State, block_name, locked_state

# What the deployer wrote before it had one form for all kinds; the digest is that of "canary".
FORMAT_1 = {
    "format": 1,
    "deployments": {
        "one/one": {
            "id": "id-of-one",
            "created": True,
            "project": "team",
            "fields": {"tags": "0123456789abcdef"},
            "schedules": {"often": {"rule": "fedcba9876543210"}},
        }
    },
    "pools": {"yeedu-pool": {"description": "0011223344556677"}},
    "blocks": {
        "yeedu-password": {
            "salt": "000102030405060708090a0b0c0d0e0f",
            "digest": "a3c2e9eb0acd14bbf18c3daa2f5d1bd1cb54c28c2e0a5cd7a9c0a5c3f4b9bb24",
        }
    },
    "automations": {
        "triggers of team|done": {
            "id": "id-of-done",
            "scope": "triggers of team",
            "created": True,
            "fields": {"enabled": "8899aabbccddeeff"},
        }
    },
    "block_types": {"yeedu-job": "7766554433221100"},
}


def variables(platform):
    return [found.name for found in platform.client.read_variables()]


def test_format_1_is_read_as_it_was_meant(platform):
    write_block(SECRET, block_name(), FORMAT_1)

    found = State.load(platform.client)

    assert found.of(Kind.DEPLOYMENT)["one/one"] == Applied(
        id="id-of-one",
        created=True,
        scope="team",
        fields={"tags": "0123456789abcdef"},
        parts={"often": {"rule": "fedcba9876543210"}},
    )
    assert found.of(Kind.POOL)["yeedu-pool"].fields == {"description": "0011223344556677"}
    assert found.of(Kind.AUTOMATION)["triggers of team|done"].id == "id-of-done"
    assert found.of(Kind.BLOCK_TYPE)["yeedu-job"].fields == {"schema": "7766554433221100"}
    recorded = found.of(Kind.BLOCK)["yeedu-password"].fields["value"]
    salt = FORMAT_1["blocks"]["yeedu-password"]["salt"]
    assert recorded.startswith(f"scrypt${salt}$")
    found.of(Kind.POOL)["other"] = Applied()
    found.save(platform.client)
    again = State.load(platform.client)
    assert again.serial == 1
    assert all(again.of(kind) == found.of(kind) for kind in Kind)


def as_format_1(stored):
    """Write a state as format 1 had it."""
    objects = stored["objects"]
    return {
        "format": 1,
        "deployments": {
            key: {**one, "project": one["scope"], "schedules": one["parts"]}
            for key, one in objects["deployment"].items()
        },
        "pools": {name: one["fields"] for name, one in objects["work pool"].items()},
        "blocks": {
            name: dict(zip(("salt", "digest"), one["fields"]["value"].split("$")[1:], strict=True))
            for name, one in objects["block"].items()
        },
        "automations": {
            f"{one['scope']}|{key.partition('|')[2]}": {
                name: one[name] for name in ("id", "scope", "created", "fields")
            }
            for key, one in objects["automation"].items()
        },
        "block_types": {slug: one["fields"]["schema"] for slug, one in objects["block type"].items()},
    }


def test_a_platform_of_format_1_goes_on_as_before(platform):
    """What an operator edited stays, what the file drops goes, and no automation is made twice."""
    trigger = "    triggers: [{name: done, expect: [x]}]\n"
    password = {"YEEDU_PASSWORD_FILE": str(platform.secret("password", "first"))}
    platform.apply(HEAD + ONE + trigger + TWO, environment=password)
    stored = read_secret(platform.client, block_name())
    write_block(SECRET, block_name(), as_format_1(stored))
    write_block(SECRET, "yeedu-password", "edited")
    before = {found.id for found in platform.client.read_automations()}
    deployment = platform.client.read_deployment_by_name("one/one")
    platform.client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=False)

    report = platform.apply(HEAD + ONE + trigger, environment=password)

    assert report.failures == []
    assert platform.outcomes(report) == {"one": "unchanged", "two": "pruned"}
    assert platform.outcomes(report, "automation") == {"done": "unchanged"}
    assert platform.outcomes(report, "block")["yeedu-password"] == "kept"
    assert {found.id for found in platform.client.read_automations()} == before
    assert read_secret(platform.client, block_name())["format"] == state.FORMAT
    gone = platform.apply(HEAD + ONE, environment=password)
    assert platform.outcomes(gone, "automation") == {"done": "pruned"}
    assert platform.client.read_automations() == []


def test_what_somebody_else_wrote_meanwhile_is_merged(platform):
    first, second = State.load(platform.client), State.load(platform.client)
    first.of(Kind.POOL).update(a=Applied(scope="first"), both=Applied(scope="first"))
    first.save(platform.client)
    second.of(Kind.POOL).update(b=Applied(scope="second"), both=Applied(scope="second"))
    second.save(platform.client)
    del first.of(Kind.POOL)["a"]
    first.save(platform.client)

    found = State.load(platform.client)
    assert {key: one.scope for key, one in found.of(Kind.POOL).items()} == {"b": "second", "both": "second"}
    assert found.serial == 3


def test_nothing_is_written_where_nothing_changed(platform):
    with locked_state(platform.client):
        pass
    assert read_secret(platform.client, block_name()) is None


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ({"format": 1, "deployments": {"one/one": {"id": 5}}}, "does not hold what the deployer wrote"),
        ("not json", "does not hold what the deployer wrote"),
        ({"format": 3}, r"written by another version of the deployer \(format 3, not 2\)"),
    ],
)
def test_a_state_that_cannot_be_read_is_left_as_it_is(platform, stored, problem):
    write_block(SECRET, block_name(), stored)
    with pytest.raises(ServerError, match=problem):
        platform.apply(HEAD + ONE)
    assert read_secret(platform.client, block_name()) == stored
    assert variables(platform) == []


def test_a_lock_that_nobody_renews_is_taken_and_one_that_is_renewed_is_not(platform, monkeypatch):
    monkeypatch.setattr(state, "STALE_SECONDS", 6.0)
    monkeypatch.setattr(state, "RENEW_SECONDS", 0.3)
    platform.client.create_variable(VariableCreate(name=state.LOCK_NAME, value="was killed"))
    began = time.monotonic()
    with locked_state(platform.client):
        assert time.monotonic() - began > 6
        assert variables(platform) == [state.LOCK_NAME]
        monkeypatch.setattr(state, "WAIT_SECONDS", 9.0)
        with (
            pytest.raises(ServerError, match=r"Another deployer .* has not ended within 9 seconds"),
            locked_state(platform.client),
        ):
            pass
    assert variables(platform) == []


def test_a_failure_saves_what_was_done_and_gives_the_lock_back(platform):
    def fail():
        with locked_state(platform.client) as held:
            held.of(Kind.POOL)["a"] = Applied(scope="first")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert State.load(platform.client).of(Kind.POOL) == {"a": Applied(scope="first")}
    assert variables(platform) == []
