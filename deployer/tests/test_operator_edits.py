"""What people change on the server by hand, and what of it an apply keeps."""

from declared import HEAD, ONE, TWO, snapshot
from prefect.client.schemas.schedules import CronSchedule


def test_what_an_operator_switched_survives_until_the_file_says_something_new_about_it(platform):
    platform.apply(HEAD + ONE + TWO)
    one = platform.client.read_deployment_by_name("one/one")
    two = platform.client.read_deployment_by_name("two/two")
    platform.client.update_deployment_schedule(one.id, one.schedules[0].id, active=False)
    platform.client.update_deployment_schedule(two.id, two.schedules[0].id, active=True)
    platform.client.pause_deployment(two.id)

    unchanged = platform.apply(HEAD + ONE + TWO)
    changed = platform.apply(
        HEAD + ONE.replace("*/5", "*/7") + TWO.replace("two.py:run", "two.py:run\n    tags: [x]")
    )

    assert platform.outcomes(unchanged) == {"one": "unchanged", "two": "unchanged"}
    assert platform.outcomes(changed) == {"one": "changed", "two": "changed"}
    one = platform.client.read_deployment_by_name("one/one")
    two = platform.client.read_deployment_by_name("two/two")
    assert (one.schedules[0].schedule.cron, one.schedules[0].active) == ("*/7 * * * *", False)
    assert (two.paused, two.schedules[0].active) == (True, True)

    platform.apply(HEAD + ONE + TWO.replace("active: false", "active: true"))
    platform.apply(HEAD + ONE + TWO)
    assert platform.client.read_deployment_by_name("two/two").schedules[0].active is False


def test_a_schedule_that_was_added_in_the_ui_stays(platform):
    platform.apply(HEAD + ONE)
    one = platform.client.read_deployment_by_name("one/one")
    platform.client.create_deployment_schedules(one.id, [(CronSchedule(cron="0 0 1 1 *"), True)])

    report = platform.apply(HEAD + ONE.replace("first", "second"))

    assert platform.outcomes(report)["one"] == "changed"
    schedules = platform.client.read_deployment_by_name("one/one").schedules
    assert {schedule.slug for schedule in schedules} == {"often", None}


def test_an_edited_parameter_survives_and_a_deleted_schedule_comes_back(platform):
    platform.apply(HEAD + ONE)
    one = platform.client.read_deployment_by_name("one/one")
    platform.client.request("PATCH", f"/deployments/{one.id}", json={"parameters": {"count": 9}})
    platform.client.delete_deployment_schedule(one.id, one.schedules[0].id)

    report = platform.apply(HEAD + ONE)

    (row,) = [row for row in report.rows if row.kind == "deployment"]
    assert row.detail == "schedule often created"
    one = platform.client.read_deployment_by_name("one/one")
    assert one.parameters == {"count": 9}
    assert [schedule.slug for schedule in one.schedules] == ["often"]


def test_lost_state_writes_nothing_and_keeps_a_pause(platform):
    platform.apply(HEAD + ONE + TWO)
    one = platform.client.read_deployment_by_name("one/one")
    platform.client.pause_deployment(one.id)
    platform.client.update_deployment_schedule(one.id, one.schedules[0].id, active=False)
    before = [snapshot(platform.client, name) for name in ("one/one", "two/two")]
    state = platform.client.read_block_document_by_name("yeedu-deployer-state", "secret")
    platform.client.delete_block_document(state.id)

    report = platform.apply(HEAD + ONE + TWO)

    assert platform.outcomes(report) == {"one": "unchanged", "two": "unchanged"}
    assert [snapshot(platform.client, name) for name in ("one/one", "two/two")] == before


def test_a_pool_keeps_what_an_operator_edited_and_takes_what_the_file_changed(platform):
    platform.apply(HEAD + ONE)
    pool = platform.client.read_work_pool("yeedu-pool")
    template = pool.base_job_template
    template["variables"]["properties"]["working_dir"]["default"] = "/srv"
    changes = {"description": "Mine", "base_job_template": template}
    platform.client.request("PATCH", "/work_pools/yeedu-pool", json=changes)

    pools = "work_pools: [{name: yeedu-pool, job_variables: {command: python3 -m prefect.engine}}]"
    report = platform.apply(HEAD + ONE, pools=pools)

    assert [row.detail for row in report.rows if row.kind == "work pool"] == ["job_variables.command"]
    pool = platform.client.read_work_pool("yeedu-pool")
    properties = pool.base_job_template["variables"]["properties"]
    assert pool.description == "Mine"
    assert properties["working_dir"]["default"] == "/srv"
    assert properties["command"]["default"] == "python3 -m prefect.engine"
