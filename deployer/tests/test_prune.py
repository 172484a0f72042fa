"""What the file drops: pruned if the deployer made it from that file, and nothing else ever."""

import json

import pytest
from declared import HEAD, NAMELESS, ONE
from prefect.exceptions import ObjectNotFound

TWO = """
  - name: two
    entrypoint: flows/two.py:run
    work_pool: {name: yeedu-pool}
"""


def exists(platform, name):
    try:
        platform.client.read_deployment_by_name(name)
    except ObjectNotFound:
        return False
    return True


def foreign(platform):
    """A deployment that someone made by hand, of a flow that the file knows too."""
    flow_id = platform.client.create_flow_from_name("two")
    return platform.client.create_deployment(flow_id=flow_id, name="by-hand")


def test_a_dropped_deployment_is_planned_and_pruned_and_a_foreign_one_stays(platform):
    platform.apply(HEAD + ONE + TWO)
    foreign(platform)

    planned = platform.apply(HEAD + ONE, plan=True)
    assert planned.changes_planned
    assert platform.outcomes(planned) == {"one": "unchanged", "two": "prune"}
    assert exists(platform, "two/two")

    applied = platform.apply(HEAD + ONE)
    assert platform.outcomes(applied) == {"one": "unchanged", "two": "pruned"}
    assert not exists(platform, "two/two")
    assert exists(platform, "two/by-hand")
    assert platform.outcomes(platform.apply(HEAD + ONE, plan=True)) == {"one": "unchanged"}


def test_the_last_deployment_can_be_dropped_too(platform):
    platform.apply(HEAD + ONE)
    assert platform.outcomes(platform.apply(HEAD + "  []")) == {"one": "pruned"}


def test_a_deployment_that_the_deployer_found_is_left_when_the_file_drops_it(platform):
    flow_id = platform.client.create_flow_from_name("two")
    platform.client.create_deployment(flow_id=flow_id, name="two")
    platform.apply(HEAD + ONE + TWO)

    assert platform.outcomes(platform.apply(HEAD + ONE)) == {"one": "unchanged"}
    assert exists(platform, "two/two")


def test_a_deployment_that_was_made_anew_by_hand_is_left(platform):
    platform.apply(HEAD + ONE + TWO)
    platform.client.delete_deployment(platform.client.read_deployment_by_name("two/two").id)
    flow_id = platform.client.create_flow_from_name("two")
    platform.client.create_deployment(flow_id=flow_id, name="two")

    assert platform.outcomes(platform.apply(HEAD + ONE)) == {"one": "unchanged"}
    assert exists(platform, "two/two")


def test_what_another_file_declared_is_left(platform):
    team_a, team_b = f"name: team-a{NAMELESS}", f"name: team-b{NAMELESS}"
    platform.apply(team_a + ONE)
    assert platform.outcomes(platform.apply(team_b + TWO)) == {"two": "created"}
    assert exists(platform, "one/one")

    assert platform.outcomes(platform.apply(team_a + "  []")) == {"one": "pruned"}
    assert exists(platform, "two/two")


def test_a_file_without_a_name_deletes_no_deployment_and_what_it_dropped_of_its_own_triggers(platform):
    trigger = '\n    triggers: [{match: {"prefect.resource.id": "x"}, expect: [e], name: %s}]\n'
    platform.apply(NAMELESS + ONE + trigger % "of-one")
    both = platform.apply(NAMELESS + TWO + trigger % "of-two")
    assert platform.outcomes(both) == {"one": "kept", "two": "created"}
    assert exists(platform, "one/one")
    assert {one.name for one in platform.client.read_automations()} == {"of-one", "of-two"}

    platform.apply(NAMELESS + TWO)

    assert {one.name for one in platform.client.read_automations()} == {"of-one"}


def test_a_deployment_whose_flow_is_broken_is_not_pruned(platform):
    platform.apply(HEAD + ONE + TWO)
    platform.repository.commit({"flows/two.py": "import no_such_module\n"})

    report = platform.apply(HEAD + ONE + TWO)

    assert platform.outcomes(report) == {"one": "unchanged", "two": "failed"}
    assert exists(platform, "two/two")


def test_plan_names_exactly_what_changed_and_apply_does_exactly_that(platform):
    daily = '{cron: "1 1 * * *", slug: daily}'
    platform.apply(HEAD + ONE.replace("slug: often}", f"slug: often}}, {daily}") + TWO)
    foreign(platform)
    one = platform.client.read_deployment_by_name("one/one")
    often = next(schedule for schedule in one.schedules if schedule.slug == "often")
    platform.client.update_deployment_schedule(one.id, often.id, active=False)
    file = HEAD + ONE.replace("[first]", "[second]")

    planned, applied = platform.apply(file, plan=True), platform.apply(file)

    (row,) = [row for row in planned.rows if row.name == "one"]
    assert [(change.field, change.old, change.new) for change in row.changes] == [
        ("tags", ["first"], ["second"]),
        ("schedules.daily", {"cron": "1 1 * * *", "timezone": "UTC", "day_or": True}, None),
    ]
    assert platform.outcomes(planned) == {"one": "change", "two": "prune"}
    assert platform.outcomes(applied) == {"one": "changed", "two": "pruned"}
    assert [row.changes for row in applied.rows if row.name == "one"] == [row.changes]
    (left,) = platform.client.read_deployment_by_name("one/one").schedules
    assert (left.id, left.active) == (often.id, False)
    assert exists(platform, "two/by-hand")


def test_the_json_form_holds_every_object_and_every_changed_field(platform, capsys):
    platform.apply(HEAD + ONE)
    report = platform.apply(HEAD + ONE.replace("[first]", "[second]"), plan=True)

    report.print(json_of="plan")

    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["command"], document["changes"]) == (1, "plan", True)
    assert document["errors"] == []
    (one,) = [found for found in document["objects"] if found["kind"] == "deployment"]
    assert (one["name"], one["outcome"]) == ("one", "change")
    assert one["changes"] == [{"field": "tags", "old": ["first"], "new": ["second"]}]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.long)])
def test_plan_says_no_changes_many_times_and_apply_touches_nothing(platform, eventually, times):
    platform.apply(HEAD + ONE + TWO)

    def state():
        deployments = platform.client.read_deployments()
        runs = platform.client.read_flow_runs()
        return (
            {found.id: found.updated for found in deployments},
            {schedule.id: schedule.updated for found in deployments for schedule in found.schedules},
            {run.id: run.expected_start_time for run in runs},
        )

    eventually(lambda: len(platform.client.read_flow_runs()) > 10, "the scheduler's runs")
    before = state()
    for _ in range(times):
        assert not platform.apply(HEAD + ONE + TWO, plan=True).changes_planned
    platform.apply(HEAD + ONE + TWO)

    after = state()
    assert after[:2] == before[:2]
    assert before[2].items() <= after[2].items()
