"""A part that cannot be applied: what it takes with it, what it leaves alone, and what is said."""

import httpx
import pytest
from declared import HEAD, ONE, POOLS, TWO
from prefect.blocks.system import Secret
from prefect.client.schemas.actions import VariableCreate
from prefect.events.schemas.automations import AutomationCore

from yeedu_deployer import server
from yeedu_deployer.server import SECRET, Lookup, read_secret, write_block
from yeedu_deployer.status import State
from yeedu_worker import catch_up

TRIGGER = "    triggers: [{name: done, expect: [x]}]\n"


def names(platform):
    return sorted(found.name for found in platform.client.read_deployments())


def test_a_creation_that_the_server_refuses_makes_no_automation(platform, monkeypatch):
    """A concurrency limit of a kind that only the server checks."""
    refuse = platform.client.create_deployment

    def create(**values):
        return refuse(**{**values, "concurrency_limit": -1} if values["name"] == "one" else values)

    monkeypatch.setattr(platform.client, "create_deployment", create)
    report = platform.apply(HEAD + ONE + TRIGGER + TWO)

    assert platform.outcomes(report) == {"one": "failed", "two": "created"}
    assert platform.outcomes(report, "automation") == {"done": "failed"}
    assert platform.client.read_automations() == []
    place = f"{platform.folder / 'prefect.yaml'}"
    assert report.failures == [
        f"{place}:8: deployment 'one': it could not be created: the server answered 422: "
        "'concurrency_limit': Input should be greater than 0; change it.",
        f"{place}:13: deployment 'one': the automation 'done' needs the deployment 'one/one', which "
        "could not be made.",
    ]
    monkeypatch.undo()

    mended = platform.apply(HEAD + ONE + TRIGGER + TWO)
    assert mended.failures == []
    deployment = platform.client.read_deployment_by_name("one/one").id
    (made,) = platform.client.read_resource_related_automations(f"prefect.deployment.{deployment}")
    assert (made.name, made.actions[0].deployment_id) == ("done", deployment)


def test_what_was_written_is_reported_when_its_runs_cannot_be_made_again(platform, monkeypatch):
    platform.apply(HEAD + ONE)

    def fail(*_):
        raise httpx.ConnectError("gone")

    monkeypatch.setattr("yeedu_deployer.applied.apply.replace_stale_runs", fail)
    report = platform.apply(HEAD + ONE.replace("tags: [first]", "tags: [second]"))

    assert platform.outcomes(report) == {"one": "changed"}
    assert platform.outcomes(report, "scheduled runs") == {"of changed deployments": "failed"}
    [failure] = report.failures
    assert failure.startswith("The scheduled runs of the changed deployments could not be made again")


def test_a_trigger_of_no_deployment_is_replaced_by_one_of_its_deployment(platform):
    """What an earlier version left behind after a failed creation."""
    platform.apply(HEAD + ONE)
    values = {
        "name": "done",
        "trigger": {"type": "event", "posture": "Reactive", "expect": ["z"]},
        "actions": [],
    }
    owner = "prefect.deployment.00000000-0000-0000-0000-000000000000"
    lost = platform.client.create_automation(
        AutomationCore.model_validate({**values, "owner_resource": owner})
    )
    name = "yeedu-deployer-state"
    stored = read_secret(platform.client, name)
    scope = "triggers of tests"
    stored["objects"]["automation"] = {f"{scope}|done": {"id": str(lost), "scope": scope, "created": True}}
    write_block(SECRET, name, stored)

    report = platform.apply(HEAD + ONE + TRIGGER)

    assert sorted(row.outcome for row in report.rows if row.kind == "automation") == ["created", "pruned"]
    deployment = platform.client.read_deployment_by_name("one/one").id
    (made,) = platform.client.read_automations()
    assert made.id != lost
    assert (
        platform.client.read_resource_related_automations(f"prefect.deployment.{deployment}")[0].id == made.id
    )


def test_an_alert_whose_block_is_refused_is_not_made(platform, monkeypatch):
    alerts = (
        "automations: [{name: a, trigger: {type: event, posture: Reactive}, notify: {subject: s, body: b}}]"
    )
    address = {"ALERT_WEBHOOK_URL_FILE": str(platform.secret("webhook", "http://127.0.0.1:9/canary"))}
    planned = platform.apply(HEAD + ONE, alerts=alerts, environment=address, plan=True)
    assert platform.outcomes(planned, "automation") == {"a": "create"}
    monkeypatch.setitem(server.BLOCK_CLASSES, "custom-webhook", ("prefect.blocks.system", "Secret"))

    report = platform.apply(HEAD + ONE, alerts=alerts, environment=address)

    assert platform.outcomes(report, "block")["alerts-webhook"] == "failed"
    assert (
        report.failures[-1] == "The automation 'a' needs the block 'alerts-webhook', which could not be made."
    )
    assert platform.client.read_automations() == []
    assert "canary" not in repr(report.failures)


BROKEN = ONE.replace("tags: [first]", "paused: perhaps")


@pytest.mark.parametrize(
    "broken",
    [
        BROKEN + TRIGGER,
        BROKEN.replace("name: one", "nam: one") + TRIGGER,
        ONE.replace("flows/one.py", "flows/none.py") + TRIGGER,
    ],
    ids=["a field", "no name", "no such flow"],
)
def test_a_broken_entry_stops_nothing_else_and_loses_nothing(platform, broken):
    third = TWO.replace("name: two", "name: third")
    platform.apply(HEAD + ONE + TRIGGER + TWO)
    automations = platform.client.read_automations()

    planned = platform.apply(HEAD + broken + TWO + third, plan=True)
    report = platform.apply(HEAD + broken + TWO + third)

    outcomes = platform.outcomes(report)
    assert {outcomes.pop(name) for name in list(outcomes) if outcomes[name] == "failed"} == {"failed"}
    assert outcomes == {"two": "unchanged", "third": "created"}
    assert planned.failures == report.failures
    assert all(" " in sentence for sentence in report.failures)
    assert names(platform) == ["one", "third", "two"]
    assert platform.client.read_automations() == automations

    again = platform.apply(HEAD + ONE + TRIGGER + TWO)
    assert (again.failures, platform.outcomes(again)) == (
        [],
        {"one": "unchanged", "two": "unchanged", "third": "pruned"},
    )


def test_a_broken_flow_does_not_keep_what_others_dropped(platform):
    platform.apply(HEAD + ONE + TRIGGER + TWO)
    report = platform.apply(HEAD + TWO.replace("two.py", "none.py"))
    assert platform.outcomes(report) == {"two": "failed", "one": "pruned"}
    assert names(platform) == ["two"]


def test_deployments_alone_do_not_name_a_token_that_the_server_lacks(platform):
    platform.apply(HEAD + TWO)
    token = {"FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", "canary-token"))}

    report = platform.apply(HEAD + ONE + TWO, environment=token, deployments_only=True)

    (row,) = [row for row in report.rows if row.kind == "block"]
    assert (row.name, row.detail) == (
        "github-pat-token",
        "absent: `make deploy` on the platform's machine makes it",
    )
    (step,) = platform.client.read_deployment_by_name("one/one").pull_steps
    assert "access_token" not in step["prefect.deployments.steps.git_clone"]
    assert read_secret(platform.client, "github-pat-token") is None

    platform.apply(HEAD + ONE + TWO, environment=token)
    later = platform.apply(
        HEAD + ONE.replace("name: one", "name: third") + TWO, environment=token, deployments_only=True
    )
    assert [row for row in later.rows if row.kind == "block"] == []
    (step,) = platform.client.read_deployment_by_name("one/third").pull_steps
    placeholder = "{{ prefect.blocks.secret.github-pat-token }}"
    assert step["prefect.deployments.steps.git_clone"]["access_token"] == placeholder


def test_status_of_more_flows_and_pools_than_a_page_holds(platform, monkeypatch):
    """Pages of two stand for those of two hundred."""
    monkeypatch.setattr(server, "PAGE", 2)
    for number in range(5):
        flow = platform.client.create_flow_from_name(f"foreign-{number}")
        platform.client.create_deployment(flow_id=flow, name=f"foreign-{number}", work_pool_name=None)
        platform.client.request("POST", "/work_pools/", json={"name": f"a-{number}", "type": "process"})
    platform.apply(HEAD + ONE + TWO)
    platform.client.request("PATCH", "/work_pools/windows-pool", json={"is_paused": True})
    for number in range(3):
        platform.client.send_worker_heartbeat("yeedu-pool", f"worker-{number}")

    deployer = platform.deployer(HEAD + TWO, {"work-pools.yaml": POOLS}, {}, plan_only=True)
    rows = {row.name: row for row in deployer.status()}

    assert (rows["one"].state, rows["two"].state) == (State.DROPPED, State.IN_STEP)
    assert rows["two"].paused
    assert rows["one"].workers == ("worker-0", "worker-1", "worker-2")
    assert [row.state for name, row in rows.items() if "foreign" in name] == [State.FOREIGN] * 5


def test_templates_get_what_the_server_has_and_no_report_shows_what_a_block_gave(platform, capsys):
    platform.client.create_variable(VariableCreate(name="greeting", value={"words": ["good", "morning"]}))
    Secret(value="canary-of-the-block").save("word")
    Secret(value={"deep": [{"key": "canary-deeper"}]}).save("nested")
    lookup = Lookup(platform.client)

    assert lookup.variable("greeting") == {"words": ["good", "morning"]}
    assert lookup.block("secret", "word", "") == "canary-of-the-block"
    assert lookup.block("secret", "word", "value") == "canary-of-the-block"
    assert lookup.block("secret", "nested", "deep[0].key") == "canary-deeper"
    assert lookup.block("secret", "nested", "value.deep[0].key") == "canary-deeper"
    assert lookup.secrets == {"canary-of-the-block", "canary-deeper"}
    for ask in (lambda: lookup.variable("none"), lambda: lookup.block("secret", "none", "")):
        with pytest.raises(LookupError, match=r"the server has no (variable|block) 'none'"):
            ask()
    with pytest.raises(LookupError, match=r"'nested' of the type 'secret' has no 'deep\.other'"):
        lookup.block("secret", "nested", "deep.other")

    parameters = '    parameters: {message: "say {{ prefect.blocks.secret.word }}"}\n'
    report = platform.apply(HEAD + ONE + parameters)
    assert platform.client.read_deployment_by_name("one/one").parameters == {
        "message": "say canary-of-the-block"
    }
    platform.apply(HEAD + ONE)
    planned = platform.apply(HEAD + ONE + parameters, plan=True)
    for said in (report, planned):
        said.print()
        said.print(json_of="plan")
    printed = capsys.readouterr()
    assert "********" in printed.out
    assert "canary" not in printed.out + printed.err


def test_a_changed_interval_skips_no_run(platform, monkeypatch):
    """The ticks of the old rhythm that are due at this moment are not taken for missed ones."""
    monkeypatch.setattr(catch_up, "GRACE_SECONDS", 600.0)  # a busy machine's moment
    often = '{interval: 5, anchor_date: "2026-01-01T00:00:00Z", slug: often}'
    one = ONE.replace('{cron: "*/5 * * * *", slug: often}', often)
    platform.apply(HEAD + one)
    for seconds in (7, 5, 9):
        report = platform.apply(HEAD + one.replace("interval: 5", f"interval: {seconds}"))
        assert platform.outcomes(report)["one"] in ("changed", "unchanged")
        assert platform.outcomes(report, "missed runs") == {}


def test_an_interval_keeps_its_rhythm_when_something_else_of_it_changes(platform):
    one = ONE.replace('{cron: "*/5 * * * *", slug: often}', "{interval: 600, slug: often}")
    platform.apply(HEAD + one)
    (before,) = platform.client.read_deployment_by_name("one/one").schedules
    platform.apply(HEAD + one.replace("600", "900"))
    (after,) = platform.client.read_deployment_by_name("one/one").schedules
    assert after.schedule.interval.total_seconds() == 900
    assert after.schedule.anchor_date == before.schedule.anchor_date
