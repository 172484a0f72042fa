"""The credential blocks: made from the environment, kept when edited, renewed when newly configured."""

import pytest
from prefect_github import GitHubCredentials

from yeedu_deployer.planned.plan import Observed, Plan, fingerprints, is_of, plan_object, slow_fingerprint
from yeedu_deployer.server import SECRET, read_secret, write_block
from yeedu_deployer.state import Applied, Kind

YAML = """
pull: [{prefect.deployments.steps.git_clone: {repository: "{{ $FLOWS_GIT_URL }}"}}]
deployments:
  - {name: one, entrypoint: "flows/one.py:run", work_pool: {name: yeedu-pool}}
"""


@pytest.mark.parametrize(
    ("configured", "stored", "applied", "action", "is_kept"),
    [
        ("a", None, None, "create", False),
        ("a", None, "a", "create", False),
        ("a", "a", None, "unchanged", False),
        ("a", "a", "b", "unchanged", False),
        ("a", "edited", "a", "unchanged", True),
        ("a", "theirs", None, "unchanged", True),
        ("b", "a", "a", "change", True),
        ("b", "edited", "a", "change", True),
    ],
)
def test_a_block_is_written_when_missing_or_newly_configured(configured, stored, applied, action, is_kept):
    observed = stored and Observed("", {"value": stored})
    before = applied and Applied(fields=fingerprints({"value": applied}, are_secret=True))

    plan = plan_object(Plan(Kind.BLOCK, "x", "x", {"value": configured}, observed), before)

    assert plan.action == action
    assert bool(observed and plan.drift) is is_kept


def test_what_is_recorded_of_a_credential_is_salted_and_does_not_hold_it():
    first, second = slow_fingerprint("canary"), slow_fingerprint("canary")
    assert is_of(first, "canary")
    assert not is_of(first, "canary ")
    assert first != second
    assert "canary" not in first
    recorded = fingerprints({"value": "canary"}, are_secret=True)
    assert fingerprints({"value": "canary"}, recorded, are_secret=True) == recorded


def test_the_blocks_are_made_from_the_environment(platform):
    environment = {
        "YEEDU_USERNAME": "ada",
        "YEEDU_PASSWORD_FILE": str(platform.secret("password", "123456")),
        "YEEDU_TOKEN_FILE": str(platform.secret("token", "")),
        "YEEDU_VERIFY_SSL": "false",
        "YEEDU_SSL_CERT_FILE": "/etc/ca.pem",
    }

    report = platform.apply(YAML, environment=environment)

    assert platform.outcomes(report, "block") == {
        "yeedu-connection-details": "created",
        "yeedu-password": "created",
    }
    assert read_secret(platform.client, "yeedu-password") == "123456"
    assert read_secret(platform.client, "yeedu-connection-details") == {
        "username": "ada",
        "YEEDU_VERIFY_SSL": "false",
        "YEEDU_SSL_CERT_FILE": "/etc/ca.pem",
    }


def test_a_token_is_named_by_the_details_and_said_to_be_used_until_it_is_taken_out(platform):
    password = {"YEEDU_PASSWORD_FILE": str(platform.secret("password", "real"))}
    both = {**password, "YEEDU_TOKEN_FILE": str(platform.secret("token", "of-single-sign-on"))}
    without = {"username": "demo", "YEEDU_VERIFY_SSL": "true", "YEEDU_SSL_CERT_FILE": ""}

    report = platform.apply(YAML, environment=both)
    said = {row.name: row.detail for row in report.rows if row.kind == "block"}
    assert said["yeedu-token"] == "flows log in to Yeedu with it"
    assert said["yeedu-password"] == "not used: yeedu-token is"
    stored = read_secret(platform.client, "yeedu-connection-details")
    assert stored == {**without, "token_block_name": "yeedu-token"}

    report = platform.apply(YAML, environment=password)
    assert platform.outcomes(report, "block")["yeedu-connection-details"] == "changed"
    assert read_secret(platform.client, "yeedu-connection-details") == without
    assert not any(row.detail for row in report.rows if row.kind == "block")


def test_a_token_that_details_made_by_hand_do_not_name_is_said_to_be_unused(platform):
    by_hand = '{"username": "ada", "YEEDU_VERIFY_SSL": "true"}'
    write_block(SECRET, "yeedu-connection-details", by_hand)
    token = {"YEEDU_TOKEN_FILE": str(platform.secret("token", "of-single-sign-on"))}

    report = platform.apply(YAML, environment=token)

    (said,) = [row.detail for row in report.rows if row.name == "yeedu-token"]
    assert said.startswith('not used: write "token_block_name": "yeedu-token" into the JSON')
    assert read_secret(platform.client, "yeedu-connection-details") == by_hand
    write_block(SECRET, "yeedu-connection-details", '{"username": "ada", "token_block_name": "yeedu_token"}')
    report = platform.apply(YAML, environment=token)
    (said,) = [row.detail for row in report.rows if row.name == "yeedu-token"]
    assert said == "flows log in to Yeedu with it"


def test_an_edit_in_the_ui_survives_until_the_configured_value_changes(platform):
    configured = {"YEEDU_PASSWORD_FILE": str(platform.secret("password", "first"))}
    platform.apply(YAML, environment=configured)
    write_block(SECRET, "yeedu-password", "edited")

    kept = platform.apply(YAML, environment=configured)
    assert platform.outcomes(kept, "block")["yeedu-password"] == "kept"
    assert read_secret(platform.client, "yeedu-password") == "edited"

    platform.secret("password", "second")
    changed = platform.apply(YAML, environment=configured)
    assert platform.outcomes(changed, "block")["yeedu-password"] == "changed"
    assert read_secret(platform.client, "yeedu-password") == "second"


def test_a_token_gives_the_pull_step_a_placeholder_and_an_unusable_one_is_not_stored(platform):
    """The repository is a folder here, so the token itself is not asked for; over http it is refused."""
    token = {"FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", "canary-token"))}

    refused = platform.apply(YAML, environment={**token, "FLOWS_GIT_URL": "http://127.0.0.1:9/x.git"})
    assert platform.outcomes(refused, "block")["github-pat-token"] == "failed"
    assert len(refused.failures) == 1
    assert read_secret(platform.client, "github-pat-token") is None

    applied = platform.apply(YAML, environment=token)
    assert platform.outcomes(applied, "block")["github-pat-token"] == "created"
    (step,) = platform.client.read_deployment_by_name("one/one").pull_steps
    inputs = step["prefect.deployments.steps.git_clone"]
    assert inputs["access_token"] == "{{ prefect.blocks.secret.github-pat-token }}"
    assert "canary" not in repr(applied)


def test_a_credential_block_that_does_not_exist_is_named(platform):
    text = YAML.replace("repository:", 'access_token: "{{ prefect.blocks.secret.mine }}", repository:')

    missing = platform.apply(text)
    write_block(SECRET, "mine", "canary-token")
    present = platform.apply(text)

    (told,) = missing.failures
    assert told.endswith(
        "prefect.yaml:2: deployment 'one': the pull step needs a value: the server has no block 'mine' of "
        "the type 'secret'; create it, or write another, or name the token's file in FLOWS_GIT_TOKEN_FILE."
    )
    assert platform.outcomes(present) == {"one": "created"}
    assert "canary-token" in present.secrets


CREDENTIALS = 'credentials: "{{ prefect.blocks.github-credentials.github }}"'
GITHUB_STEP = YAML.replace("repository:", f"{CREDENTIALS}, repository:")


def test_a_token_for_github_is_a_block_that_pull_steps_can_name_from_the_first_apply_on(platform):
    nowhere = platform.apply(GITHUB_STEP)
    (told,) = nowhere.failures
    assert told.endswith(
        "prefect.yaml:2: deployment 'one': the pull step needs a value: the server has no block 'github' of "
        "the type 'github-credentials'; create it, or write another, or name the token's file in "
        "GITHUB_TOKEN_FILE."
    )
    token = {"GITHUB_TOKEN_FILE": str(platform.secret("github", "canary-of-github"))}

    applied = platform.apply(GITHUB_STEP, environment=token)

    assert applied.failures == []
    assert platform.outcomes(applied, "block")["github"] == "created"
    assert GitHubCredentials.load("github").token.get_secret_value() == "canary-of-github"
    assert "canary" not in repr(applied.rows)
    assert "canary" not in platform.client.request("POST", "/block_documents/filter", json={}).text
    (step,) = platform.client.read_deployment_by_name("one/one").pull_steps
    inputs = step["prefect.deployments.steps.git_clone"]
    assert inputs["credentials"] == "{{ prefect.blocks.github-credentials.github }}"
    assert "access_token" not in inputs


def test_a_token_for_github_that_was_put_into_the_ui_is_kept(platform):
    token = {"GITHUB_TOKEN_FILE": str(platform.secret("github", "first"))}
    GitHubCredentials(token="by-hand").save("github")
    kept = platform.apply(YAML, environment=token)
    assert platform.outcomes(kept, "block")["github"] == "kept"
    platform.secret("github", "second")
    changed = platform.apply(YAML, environment=token)
    assert platform.outcomes(changed, "block")["github"] == "changed"
    assert GitHubCredentials.load("github").token.get_secret_value() == "second"
