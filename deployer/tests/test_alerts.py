"""Alerts and triggers: automations made from files, kept when edited, and fired by a real server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Crashed, Failed

from yeedu_deployer.declared.platform_files import load_alerts
from yeedu_deployer.errors import SpecError

ALERTS = (Path(__file__).parents[1] / "alerts.yaml").read_text(encoding="utf-8")
NAMES = {"alert: run failed", "alert: run crashed", "alert: run late", "alert: no worker polls"}
YAML = """
pull: [{prefect.deployments.steps.git_clone: {repository: "{{ $FLOWS_GIT_URL }}"}}]
deployments:
  - name: one
    entrypoint: flows/one.py:run
    work_pool: {name: yeedu-pool}
"""
TRIGGERS = """
    triggers:
      - expect: [prefect.flow-run.Completed]
        match_related: {prefect.resource.name: two}
        parameters: {count: 2}
"""


class Endpoint(BaseHTTPRequestHandler):
    """What a team's own webhook is: it takes JSON."""

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()


@pytest.fixture
def endpoint():
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    server.received = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def configured(platform, endpoint):
    address = f"http://127.0.0.1:{endpoint.server_port}/canary-of-the-address"
    return {"ALERT_WEBHOOK_URL_FILE": str(platform.secret("webhook", address))}


def automations(platform):
    return {found.name: found for found in platform.client.read_automations()}


def automation_outcomes(report):
    return {row.name: row.outcome.value for row in report.rows if row.kind == "automation"}


@pytest.mark.timeout(600)
def test_each_alert_reaches_a_webhook(platform, endpoint, configured, eventually):
    report = platform.apply(YAML, environment=configured, alerts=ALERTS)
    assert (report.failures, automation_outcomes(report)) == ([], dict.fromkeys(NAMES, "created"))
    assert "canary" not in repr(report.rows)
    deployment = platform.client.read_deployment_by_name("one/one").id

    def received(text):
        return [one for one in endpoint.received if text in one["subject"]]

    for state in (Failed(message="It broke."), Crashed(message="It died.")):
        run = platform.client.create_flow_run_from_deployment(deployment, state=state)
        eventually(lambda state=state: received(f"one {state.name}"), f"the alert of {state.name}", 120)
        assert run.name in received(f"one {state.name}")[0]["body"]
        assert state.message in received(f"one {state.name}")[0]["body"]

    late = platform.client.create_flow_run_from_deployment(deployment)
    eventually(lambda: received("one Late"), "the alert of a late run", 120)
    assert late.name in received("one Late")[0]["body"]

    platform.client.send_worker_heartbeat("yeedu-pool", "dies", heartbeat_interval_seconds=1)
    eventually(lambda: received("yeedu-pool: no worker polls"), "the alert of a pool without workers", 120)


def test_nothing_is_made_without_a_place_to_send_alerts_to_and_all_goes_with_it(platform, configured):
    assert automation_outcomes(platform.apply(YAML, alerts=ALERTS)) == {}
    assert automations(platform) == {}

    platform.apply(YAML, environment=configured, alerts=ALERTS)
    assert automations(platform).keys() == NAMES
    block = platform.client.read_block_document_by_name("alerts-webhook", "custom-webhook")
    platform.client.delete_block_document(block.id)

    assert set(automation_outcomes(platform.apply(YAML, alerts=ALERTS)).values()) == {"pruned"}
    assert automations(platform) == {}


def test_an_edited_and_a_paused_alert_stay_until_the_file_changes_and_a_foreign_one_always(
    platform, configured
):
    platform.apply(YAML, environment=configured, alerts=ALERTS)
    unchanged = platform.apply(YAML, environment=configured, alerts=ALERTS)
    assert automation_outcomes(unchanged) == dict.fromkeys(NAMES, "unchanged")
    failed = automations(platform)["alert: run failed"]
    platform.client.pause_automation(failed.id)
    edited = failed.model_dump(mode="json", exclude={"id", "owner_resource"})
    edited |= {"description": "Mine", "enabled": False}
    platform.client.request("PUT", f"/automations/{failed.id}", json=edited)
    platform.client.create_automation(AutomationCore.model_validate(edited | {"name": "by hand"}))

    kept = platform.apply(YAML, environment=configured, alerts=ALERTS)
    assert automation_outcomes(kept)["alert: run failed"] == "kept"
    assert automations(platform)["alert: run failed"].description == "Mine"

    text = ALERTS.replace("A flow run ended as Failed.", "New words.")
    planned = platform.apply(YAML, environment=configured, alerts=text, plan=True)
    assert automation_outcomes(planned)["alert: run failed"] == "change"
    platform.apply(YAML, environment=configured, alerts=text)
    changed = automations(platform)["alert: run failed"]
    assert (changed.id, changed.description, changed.enabled) == (failed.id, "New words.", False)
    assert "by hand" in automations(platform)


def test_lost_state_makes_no_second_alert(platform, configured):
    platform.apply(YAML, environment=configured, alerts=ALERTS)
    before = {found.id for found in platform.client.read_automations()}
    state = platform.client.read_block_document_by_name("yeedu-deployer-state", "secret")
    platform.client.delete_block_document(state.id)

    platform.apply(YAML, environment=configured, alerts=ALERTS)

    assert {found.id for found in platform.client.read_automations()} == before


def test_a_trigger_becomes_an_automation_of_its_deployment_and_goes_with_it(platform):
    platform.apply(YAML + TRIGGERS)
    deployment = platform.client.read_deployment_by_name("one/one").id
    (made,) = platform.client.read_resource_related_automations(f"prefect.deployment.{deployment}")
    assert made.name == "one__automation_1"
    assert (made.actions[0].deployment_id, made.actions[0].parameters) == (deployment, {"count": 2})

    assert automation_outcomes(platform.apply(YAML + TRIGGERS)) == {"one__automation_1": "unchanged"}
    assert automation_outcomes(platform.apply(YAML)) == {"one__automation_1": "pruned"}
    assert platform.client.read_automations() == []


def test_lists_keep_their_order_and_sets_are_no_difference(platform):
    text = """
    triggers:
      - expect: [prefect.flow-run.Failed, prefect.flow-run.Completed]
        for_each: [prefect.resource.name, prefect.resource.id]
        parameters: {command: [tar, -x, archive], after: [second, first]}
        job_variables: {args: [z, a]}
"""
    alerts = """
automations:
  - name: pausing
    trigger: {type: event, posture: Reactive, expect: [b, a]}
    actions: [{type: run-deployment, source: inferred, parameters: {steps: [two, one]}}]
"""
    platform.apply(YAML + text, alerts=alerts)

    made = automations(platform)
    run = made["one__automation_1"].actions[0]
    assert run.parameters == {"command": ["tar", "-x", "archive"], "after": ["second", "first"]}
    assert run.job_variables == {"args": ["z", "a"]}
    assert made["pausing"].actions[0].parameters == {"steps": ["two", "one"]}
    turned = text.replace(
        "[prefect.flow-run.Failed, prefect.flow-run.Completed]",
        "[prefect.flow-run.Completed, prefect.flow-run.Failed]",
    )
    again = platform.apply(YAML + turned, alerts=alerts.replace("[b, a]", "[a, b]"))
    assert automation_outcomes(again) == {"one__automation_1": "unchanged", "pausing": "unchanged"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("notify: &about", "notfy: &about", "the key 'notfy' is unknown; did you mean 'notify'?"),
        ("posture: Reactive", "posture: Active", "'posture' must be Reactive or Proactive"),
        (
            'name: "alert: run late"',
            'name: "alert: run failed"',
            "automation 'alert: run failed': 'name' is taken already; choose another.",
        ),
    ],
)
def test_a_mistake_in_alerts_yaml_is_told_with_its_line(tmp_path, old, new, problem):
    file = tmp_path / "alerts.yaml"
    assert old in ALERTS
    file.write_text(ALERTS.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_alerts(file, {})
    assert any(problem in told for told in caught.value.problems)
    assert all(told.removeprefix(f"{file}:").partition(":")[0].isdecimal() for told in caught.value.problems)
