"""One flow or one project is registered alone, and from a machine that does not know every setting."""

# ruff: noqa: E501 - whole sentences and one-line YAML read best unbroken

import pytest
from declared import HEAD, ONE
from prefect.exceptions import ObjectNotFound

from yeedu_deployer.errors import SelectionError

TWO = """
  - name: two
    entrypoint: flows/two.py:run
    work_pool: {name: yeedu-pool}
    parameters: {message: "{{ $TWO_SAYS }}", count: 1}
"""
TRIGGER = """
    triggers: [{enabled: true, match: {"prefect.resource.id": "x"}, expect: [e], name: %s}]
"""
SAYS = {"TWO_SAYS": "as production says"}


def names(platform):
    return {deployment.name for deployment in platform.client.read_deployments()}


def untouched(platform, name):
    return platform.client.read_deployment_by_name(name).updated


def test_a_choice_is_registered_and_nothing_else_is_touched(platform):
    alerts = """
automations:
  - {name: failed, trigger: {type: event, expect: [x], posture: Reactive, threshold: 1}, actions: [{type: do-nothing}]}
"""
    platform.apply(HEAD + ONE + TRIGGER % "of-one" + TWO + TRIGGER % "of-two", environment=SAYS)
    before = untouched(platform, "two/two")
    changed = HEAD + ONE.replace("[first]", "[second]") + TRIGGER % "of-one"

    everything = {"pools": "work_pools: [{name: new-pool}]", "alerts": alerts}
    report = platform.apply(changed, only=["one"], **everything)

    assert [(row.kind, row.name, row.outcome.value) for row in report.rows] == [
        ("deployment", "one", "changed"),
        ("automation", "of-one", "unchanged"),
    ]
    assert names(platform) == {"one", "two"}, "nothing is pruned"
    assert untouched(platform, "two/two") == before
    assert {one.name for one in platform.client.read_automations()} == {"of-one", "of-two"}
    assert "new-pool" not in {pool.name for pool in platform.client.read_work_pools()}
    assert platform.outcomes(platform.apply(changed, only=["o*"])) == {"one": "unchanged"}
    # A whole apply still knows what it made, and prunes it.
    assert platform.outcomes(platform.apply(changed, plan=True)) == {"one": "unchanged", "two": "prune"}


def test_a_project_is_a_folder_of_entrypoints(platform):
    flows = platform.repository
    flows.commit(
        {f"flows/parking/{name}.py": (flows.path / f"flows/{name}.py").read_text() for name in ("one", "two")}
    )
    cars = ONE.replace("name: one", "name: cars").replace("flows/one", "flows/parking/one")
    fees = ONE.replace("name: one", "name: fees").replace("flows/one", "flows/parking/two")
    platform.apply(HEAD + ONE + TWO, environment=SAYS)
    file = HEAD + ONE.replace("[first]", "[second]") + TWO + cars + fees

    assert platform.outcomes(platform.apply(file, only=["flows/parking/"])) == {
        "cars": "created",
        "fees": "created",
    }
    assert platform.client.read_deployment_by_name("one/one").tags == ["first"]
    assert platform.outcomes(platform.apply(file, only=["one/*"], environment=SAYS)) == {
        "one": "changed",
        "cars": "unchanged",
    }
    with pytest.raises(SelectionError, match=r"--only 'two/cars' is no deployment of .*; it has one/cars"):
        platform.apply(file, only=["two/cars"])


def test_a_setting_that_is_not_known_here_stays_as_the_server_has_it(platform):
    platform.apply(HEAD + TWO, environment=SAYS)
    two = platform.client.read_deployment_by_name("two/two")

    report = platform.apply(HEAD + TWO, deployments_only=True)
    (row,) = [row for row in report.rows if row.kind == "deployment"]
    assert (row.outcome.value, row.detail) == ("unchanged", "message kept: TWO_SAYS is not set here")

    changed = platform.apply(HEAD + TWO.replace("count: 1", "count: 2"), only=["two"])
    assert platform.outcomes(changed) == {"two": "changed"}
    found = platform.client.read_deployment_by_name("two/two")
    assert (found.id, found.parameters) == (two.id, {"message": "as production says", "count": 2})
    assert platform.outcomes(
        platform.apply(HEAD + TWO.replace("count: 1", "count: 2"), environment=SAYS, plan=True)
    ) == {"two": "unchanged"}
    unset = platform.apply(HEAD + TWO)
    assert platform.outcomes(unset) == {"two": "failed"}
    assert "the environment variable TWO_SAYS is not set" in unset.failures[0]


def test_what_an_operator_edited_outlasts_a_registration_from_elsewhere(platform):
    platform.apply(HEAD + TWO, environment=SAYS)
    two = platform.client.read_deployment_by_name("two/two")
    path = f"/deployments/{two.id}"
    platform.client.request("PATCH", path, json={"parameters": {"message": "edited", "count": 1}})

    assert platform.outcomes(platform.apply(HEAD + TWO, only=["two"])) == {"two": "unchanged"}
    assert platform.outcomes(platform.apply(HEAD + TWO, environment=SAYS)) == {"two": "unchanged"}
    assert platform.client.read_deployment_by_name("two/two").parameters["message"] == "edited"


def test_a_new_deployment_says_which_setting_it_needs(platform):
    platform.apply(HEAD + ONE)
    report = platform.apply(HEAD + ONE + TWO, only=["two"])
    assert platform.outcomes(report) == {"two": "failed"}
    assert report.failures == [
        f"{platform.folder / 'prefect.yaml'}:17: deployment 'two': TWO_SAYS is not set here, and the server has no "
        "such deployment yet, and so no value of message; set it and apply again."
    ]
    with pytest.raises(ObjectNotFound):
        platform.client.read_deployment_by_name("two/two")


def test_a_token_that_only_the_platform_knows_stays_in_the_pull_step(platform):
    """The laptop reads the repository in its own way; what a worker clones with is the block's."""
    platform.apply(
        HEAD + ONE, environment={"FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", "canary-token"))}
    )
    clone = "prefect.deployments.steps.git_clone"
    token = "{{ prefect.blocks.secret.github-pat-token }}"

    def step(name):
        return platform.client.read_deployment_by_name(name).pull_steps[0][clone]

    assert step("one/one")["access_token"] == token
    file = HEAD + ONE + TWO
    applied = platform.apply(file, only=["*"], environment=SAYS)
    assert platform.outcomes(applied) == {"one": "unchanged", "two": "created"}
    assert (step("one/one")["access_token"], step("two/two")["access_token"]) == (token, token)
    # A deployment that does without stays so: nobody here knows better.
    one = platform.client.read_deployment_by_name("one/one")
    steps = [{clone: {key: value for key, value in step("one/one").items() if key != "access_token"}}]
    platform.client.request("PATCH", f"/deployments/{one.id}", json={"pull_steps": steps})
    assert platform.outcomes(platform.apply(file, only=["one"])) == {"one": "unchanged"}
    assert "access_token" not in step("one/one")


def test_a_token_that_the_platform_does_not_know_is_told_to_be_missing_there(platform):
    platform.apply(HEAD + ONE)
    token = {"FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", "canary-token"))}
    report = platform.apply(HEAD + ONE, environment=token, deployments_only=True)
    (row,) = [row for row in report.rows if row.kind == "block"]
    assert row.name == "github-pat-token"
    assert row.detail == "absent: `make deploy` on the platform's machine makes it"
