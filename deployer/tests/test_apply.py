"""The desired state on a real server: what is written, what is left alone, and what failures leave behind."""

import pytest
from declared import HEAD, ONE, TWO, snapshot
from prefect.blocks.core import Block
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound

from yeedu_deployer.planned import blocks


def runs_of(client, deployment_id):
    of_deployment = FlowRunFilterDeploymentId(any_=[deployment_id])
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=of_deployment))
    return {run.id: run.auto_scheduled for run in runs}


def test_new_deployments_are_created_with_what_file_and_flow_say(platform):
    report = platform.apply(HEAD + ONE + TWO)

    assert report.failures == []
    assert platform.outcomes(report) == {"one": "created", "two": "created"}
    deployment = platform.client.read_deployment_by_name("one/one")
    assert deployment.description == "Says something."
    assert deployment.tags == ["first"]
    assert deployment.version is None
    assert deployment.work_pool_name == "yeedu-pool"
    assert set(deployment.parameter_openapi_schema["properties"]) == {"message", "count"}
    assert deployment.pull_steps == [
        {
            "prefect.deployments.steps.git_clone": {
                "repository": "{{ $FLOWS_GIT_URL }}",
                "branch": "{{ $FLOWS_GIT_REF }}",
            }
        }
    ]
    (schedule,) = deployment.schedules
    assert (schedule.slug, schedule.active) == ("often", True)
    assert schedule.schedule == CronSchedule(cron="*/5 * * * *", timezone="UTC")
    (inactive,) = platform.client.read_deployment_by_name("two/two").schedules
    assert inactive.active is False


def test_pools_are_created_with_the_default_template_and_our_command(platform):
    platform.apply(HEAD + ONE)

    linux = platform.client.read_work_pool("yeedu-pool").base_job_template
    windows = platform.client.read_work_pool("windows-pool").base_job_template
    assert linux["variables"]["properties"]["command"]["default"] == "python -m prefect.engine"
    assert windows["variables"]["properties"]["command"].get("default") is None
    assert linux["job_configuration"] == windows["job_configuration"]


DOCKER_POOL = """
work_pools:
  - {name: yeedu-pool, type: process}
  - name: docker-pool
    type: docker
    job_variables: {image: "example/flows:1", image_pull_policy: Never, auto_remove: true, networks: [own]}
"""
IN_A_CONTAINER = """
  - name: two
    entrypoint: flows/two.py:run
    work_pool: {name: docker-pool, job_variables: {image: "example/flows:2"}}
"""


def test_a_docker_pool_has_the_docker_workers_template_with_our_defaults(platform):
    report = platform.apply(HEAD + IN_A_CONTAINER, pools=DOCKER_POOL)

    assert report.failures == []
    pool = platform.client.read_work_pool("docker-pool")
    assert pool.type == "docker"
    assert pool.base_job_template["job_configuration"]["image"] == "{{ image }}"
    properties = pool.base_job_template["variables"]["properties"]
    assert {name: field["default"] for name, field in properties.items() if field.get("default")} == {
        "image": "example/flows:1",
        "image_pull_policy": "Never",
        "auto_remove": True,
        "networks": ["own"],
        "stream_output": True,
    }
    deployment = platform.client.read_deployment_by_name("two/two")
    assert deployment.job_variables == {"image": "example/flows:2"}

    again = platform.apply(HEAD + IN_A_CONTAINER, pools=DOCKER_POOL.replace("flows:1", "flows:3"))
    assert platform.outcomes(again, "work pool") == {"yeedu-pool": "unchanged", "docker-pool": "changed"}
    wrong_pools = DOCKER_POOL.replace("docker-pool", "other").replace("image:", "imag:")
    wrong = platform.apply(HEAD + IN_A_CONTAINER, pools=wrong_pools)
    assert wrong.failures[0].startswith(
        "Work pool 'other' has no job variable 'imag'; it has auto_remove, command,"
    )


def test_the_operators_block_types_are_known_to_the_server(platform):
    def fields(slug):
        block_type = platform.client.read_block_type_by_slug(slug)
        of_type = {"block_schemas": {"block_type_id": {"any_": [str(block_type.id)]}}}
        (schema,) = platform.client.request("POST", "/block_schemas/filter", json=of_type).json()
        return set(schema["fields"]["properties"])

    def known():
        return [found for found in platform.client.read_block_types() if found.slug.startswith("yeedu-")]

    for block_type in known():
        platform.client.delete_block_type(block_type.id)
    planned = platform.apply(HEAD + ONE, plan=True)
    assert set(platform.outcomes(planned, "block type").values()) == {"create"}
    assert known() == []

    report = platform.apply(HEAD + ONE)

    made = {"Yeedu Credentials": "created", "Yeedu Job": "created", "Yeedu Notebook": "created"}
    assert platform.outcomes(report, "block type") == made
    assert fields("yeedu-credentials") >= {"username", "password", "token"}
    assert fields("yeedu-job") >= {"credentials", "job_url"}
    assert fields("yeedu-notebook") >= {"credentials", "notebook_url"}
    assert platform.outcomes(platform.apply(HEAD + ONE), "block type") == {}


def block_of_one_version():
    class Versioned(Block):
        """Says something."""

        first: str = ""

    return Versioned


def block_of_the_next_version():
    class Versioned(Block):
        """Says something else."""

        first: str = ""
        second: str = ""

    return Versioned


@pytest.mark.filterwarnings("ignore:Type 'Versioned' at ")
def test_a_block_type_with_other_fields_than_last_time_is_registered_anew(platform, monkeypatch):
    def applied(block_type):
        monkeypatch.setattr(blocks, "BLOCK_TYPES", (block_type,))
        outcomes = platform.outcomes(platform.apply(HEAD + ONE), "block type")
        known = platform.client.read_block_type_by_slug("versioned")
        newest = platform.client.get_most_recent_block_schema_for_block_type(known.id)
        return outcomes, known.description, set(newest.fields["properties"])

    first, following = block_of_one_version(), block_of_the_next_version()
    assert applied(first) == ({"Versioned": "created"}, "Says something.", {"first"})
    assert applied(first) == ({}, "Says something.", {"first"})
    assert applied(following) == ({"Versioned": "changed"}, "Says something else.", {"first", "second"})
    assert applied(following) == ({}, "Says something else.", {"first", "second"})


def test_only_a_new_deployment_with_an_active_schedule_gets_a_first_run(platform):
    report = platform.apply(HEAD + ONE + TWO)

    assert platform.outcomes(report, "first run") == {"one": "started"}
    one = platform.client.read_deployment_by_name("one/one").id
    two = platform.client.read_deployment_by_name("two/two").id
    assert list(runs_of(platform.client, one).values()).count(False) == 1
    assert runs_of(platform.client, two) == {}


def test_no_first_run_on_a_paused_pool(platform):
    platform.apply(HEAD + TWO)
    platform.client.request("PATCH", "/work_pools/yeedu-pool", json={"is_paused": True})

    report = platform.apply(HEAD + ONE + TWO)

    assert platform.outcomes(report, "first run") == {}


def test_applying_again_touches_neither_deployments_nor_schedules_nor_future_runs(platform, eventually):
    platform.apply(HEAD + ONE + TWO)
    one = platform.client.read_deployment_by_name("one/one").id
    eventually(lambda: any(runs_of(platform.client, one).values()), "the scheduler to create runs")
    before = [snapshot(platform.client, name) for name in ("one/one", "two/two")]
    runs = runs_of(platform.client, one)
    documents = {document.name: document.updated for document in platform.client.read_block_documents()}
    pools = {pool.name: pool.updated for pool in platform.client.read_work_pools()}

    for _ in range(3):
        report = platform.apply(HEAD + ONE + TWO)
        assert {row.outcome.value for row in report.rows} == {"unchanged"}

    assert [snapshot(platform.client, name) for name in ("one/one", "two/two")] == before
    assert runs.keys() <= runs_of(platform.client, one).keys()
    assert {d.name: d.updated for d in platform.client.read_block_documents()} == documents
    assert {pool.name: pool.updated for pool in platform.client.read_work_pools()} == pools


# The deployment, what is changed in its text, and the value that its field of that name then has.
CHANGES = {
    "tags": ("tags: [first]", "tags: [second, third]", ["second", "third"]),
    "description": ("tags: [first]", "tags: [first]\n    description: New", "New"),
    "parameters": ("tags: [first]", "tags: [first]\n    parameters: {count: 3}", {"count": 3}),
    "version": ("tags: [first]", "tags: [first]\n    version: 7", "7"),
    "paused": ("tags: [first]", "tags: [first]\n    paused: true", True),
    "work_pool_name": ("yeedu-pool", "windows-pool", "windows-pool"),
    "job_variables": ("yeedu-pool", "yeedu-pool, job_variables: {env: {A: b}}", {"env": {"A": "b"}}),
    "entrypoint": ("flows/one.py", "flows/moved.py", "flows/moved.py:run"),
}


def test_a_changed_field_is_written_and_nothing_else(platform):
    platform.repository.commit({"flows/moved.py": (platform.repository.path / "flows/one.py").read_text()})
    declared = {field: ONE.replace("name: one", f"name: {field}") for field in CHANGES}
    platform.apply(HEAD + "".join(declared.values()) + TWO)
    before = {field: platform.client.read_deployment_by_name(f"one/{field}") for field in CHANGES}
    other = snapshot(platform.client, "two/two")

    changed = [declared[field].replace(old, new) for field, (old, new, _) in CHANGES.items()]
    report = platform.apply(HEAD + "".join(changed) + TWO)

    rows = [(row.name, row.outcome.value, row.detail) for row in report.rows if row.name in CHANGES]
    assert rows == [(field, "changed", field) for field in CHANGES]
    for field, (_, _, expected) in CHANGES.items():
        deployment = platform.client.read_deployment_by_name(f"one/{field}")
        assert getattr(before[field], field) != expected
        assert getattr(deployment, field) == expected
        assert deployment.schedules == before[field].schedules
    assert snapshot(platform.client, "two/two") == other


def test_a_concurrency_limit_is_set_changed_and_taken_away(platform):
    def limit():
        found = platform.client.read_deployment_by_name("one/one").global_concurrency_limit
        return found and found.limit

    platform.apply(HEAD + ONE + "    concurrency_limit: 1\n")
    assert limit() == 1
    platform.apply(HEAD + ONE + "    concurrency_limit: {limit: 3, collision_strategy: CANCEL_NEW}\n")
    assert limit() == 3
    options = platform.client.read_deployment_by_name("one/one").concurrency_options
    assert options.collision_strategy.value == "CANCEL_NEW"
    assert platform.outcomes(platform.apply(HEAD + ONE))["one"] == "changed"
    assert limit() is None


def test_a_changed_time_keeps_the_schedule_and_a_dropped_one_is_removed(platform):
    platform.apply(HEAD + ONE.replace("slug: often}", 'slug: often}, {cron: "1 1 * * *", slug: daily}'))
    before = {s.slug: s.id for s in platform.client.read_deployment_by_name("one/one").schedules}

    platform.apply(HEAD + ONE.replace("*/5", "*/7"))

    (schedule,) = platform.client.read_deployment_by_name("one/one").schedules
    assert schedule.id == before["often"]
    assert schedule.schedule.cron == "*/7 * * * *"


def test_all_schedules_can_be_dropped(platform):
    platform.apply(HEAD + ONE)
    platform.apply(HEAD + ONE.replace('[{cron: "*/5 * * * *", slug: often}]', "[]"))
    assert platform.client.read_deployment_by_name("one/one").schedules == []


def test_a_deleted_deployment_is_made_again_with_a_first_run(platform):
    platform.apply(HEAD + ONE)
    platform.client.delete_deployment(platform.client.read_deployment_by_name("one/one").id)

    report = platform.apply(HEAD + ONE)

    assert platform.outcomes(report) == {"one": "created"}
    assert platform.outcomes(report, "first run") == {"one": "started"}


def test_a_failing_deployment_does_not_stop_the_others(platform):
    platform.repository.commit({"flows/broken.py": "import no_such_module\n"})
    broken = ONE.replace("name: one", "name: broken").replace("flows/one.py", "flows/broken.py")

    report = platform.apply(HEAD + broken + ONE + TWO.replace("windows-pool", "no-such-pool"))

    assert platform.outcomes(report) == {"broken": "failed", "one": "created", "two": "failed"}
    place = f"{platform.folder / 'prefect.yaml'}"
    assert report.failures == [
        f"{place}:9: deployment 'broken': flows/broken.py:run does not import: ModuleNotFoundError: No "
        "module named 'no_such_module' (flows/broken.py, line 1); if it is a package, add it to "
        "flows/requirements.txt, then `make lock` and `make up` (docs/packages.md).",
        f"{place}:22: deployment 'two': there is no work pool 'no-such-pool'; declare it in work-pools.yaml, "
        "create it on the server, or write the name of another.",
    ]


def test_an_unreachable_source_is_told_once_and_fails_its_deployments(platform):
    report = platform.apply(HEAD + ONE + TWO, environment={"FLOWS_GIT_URL": "http://127.0.0.1:9/flows.git"})

    assert platform.outcomes(report) == {"one": "failed", "two": "failed"}
    assert report.failures == [
        f"{platform.folder / 'prefect.yaml'}:3: the git repository http://127.0.0.1:9/flows.git cannot be "
        "reached: nothing answers there; check FLOWS_GIT_URL."
    ]
    assert platform.outcomes(report, "work pool") == {"yeedu-pool": "created", "windows-pool": "created"}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("{mesage: x}", "the flow has no parameter 'mesage'; leave it out, or write one of count, message"),
        (
            "{count: many}",
            "parameter 'count' is 'many', which is not of type 'integer'; write a value that fits",
        ),
    ],
)
def test_parameters_that_do_not_fit_the_flow_are_refused(platform, parameters, reason):
    report = platform.apply(HEAD + ONE + f"    parameters: {parameters}\n")

    assert report.failures == [f"{platform.folder / 'prefect.yaml'}:13: deployment 'one': {reason}."]
    with pytest.raises(ObjectNotFound):
        platform.client.read_deployment_by_name("one/one")


def test_parameters_take_environment_variables_when_applied(platform):
    parameters = '    parameters: {message: "to {{ $WHOM }}"}\n'

    platform.apply(HEAD + ONE + parameters, environment={"WHOM": "you"})

    assert platform.client.read_deployment_by_name("one/one").parameters == {"message": "to you"}


def test_plan_says_what_apply_would_do_and_writes_nothing(platform):
    planned = platform.apply(HEAD + ONE + TWO, plan=True)

    assert planned.changes_planned
    assert {row.outcome.value for row in planned.rows} == {"create"}
    assert platform.client.read_deployments() == []
    assert platform.client.read_work_pools() == []
    assert platform.client.read_block_documents() == []

    platform.apply(HEAD + ONE + TWO)
    assert not platform.apply(HEAD + ONE + TWO, plan=True).changes_planned

    changed = platform.apply(HEAD + ONE.replace("*/5", "*/7") + TWO, plan=True)
    assert [(row.name, row.detail) for row in changed.rows if row.outcome.value == "change"] == [
        ("one", "schedule often rule")
    ]
    assert not platform.apply(HEAD + ONE + TWO, plan=True).changes_planned


def test_a_pool_of_another_type_is_not_taken_over(platform):
    platform.client.request("POST", "/work_pools/", json={"name": "yeedu-pool", "type": "docker"})

    report = platform.apply(HEAD + ONE)

    assert platform.outcomes(report, "work pool")["yeedu-pool"] == "failed"
    assert "exists as a 'docker' pool, not as 'process'" in report.failures[0]
    assert platform.outcomes(report) == {"one": "failed"}
