"""Files of people whose tool is `prefect deploy`: what it takes is taken, and a mistake stops nothing else."""

# ruff: noqa: E501 - files as people write them

import textwrap

import pytest
import yaml
from prefect.cli.deploy._config import _load_deploy_configs_and_actions
from rich.console import Console

from yeedu_deployer.declared.flow_source import source_of
from yeedu_deployer.declared.prefect_yaml import load_file
from yeedu_deployer.declared.selection import read_selection
from yeedu_deployer.errors import SpecError

PULL = 'pull: [{prefect.deployments.steps.git_clone: {repository: "{{ $URL }}"}}]\n'
IN_IMAGE = "{prefect.deployments.steps.set_working_directory: {directory: /opt/flows}}"
ENTRY = "    entrypoint: flows/one.py:run\n    work_pool: {name: pool}\n"


@pytest.fixture
def load(tmp_path):
    def read(text, environment=None):
        file = tmp_path / "prefect.yaml"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        found = load_file(file, environment or {})
        told = [one.removeprefix(f"{file}:") for error in found.errors.values() for one in error.problems]
        return found, told

    return read


@pytest.fixture
def one(load):
    """The one deployment that has these keys."""

    def read(keys):
        found, told = load(f"{PULL}deployments:\n  - name: one\n{ENTRY}{textwrap.indent(keys, '    ')}")
        assert told == []
        return found.deployments[0]

    return read


def test_texts_keep_the_spelling_that_yaml_would_lose(load):
    found, told = load(
        """\
        pull:
          - prefect.deployments.steps.git_clone:
              repository: https://git.example.com/flows.git
              branch: 2.10
              directories: [010, b]
              include_submodules: yes
        deployments:
          - {name: 0815, version: 3.10, entrypoint: "a.py:b", work_pool: {name: 12:45}, tags: [1.0, on, 2024_01]}
          - {name: 2024-01-31, version: 1e3, description: yes, entrypoint: "a.py:b", work_pool: {name: 0x1F}}
        """
    )

    assert told == []
    first, second = found.deployments
    assert (first.name, first.says.version, first.says.work_pool.name) == ("0815", "3.10", "12:45")
    assert first.says.tags == ("1.0", "on", "2024_01")
    assert (second.name, second.says.version, second.says.description) == ("2024-01-31", "1e3", "yes")
    assert second.says.work_pool.name == "0x1F"
    assert first.pull[0].inputs == {
        "repository": "https://git.example.com/flows.git",
        "branch": "2.10",
        "directories": [8, "b"],  # no text but a list, as `prefect deploy` registers it
        "include_submodules": True,
    }


PARAMETERS = """\
parameters:
  octal: 0123
  time: 12:30
  under: 1_000
  yes: no
  day: 2026-01-31
  moment: 2026-01-31T05:00:00+02:00
  null: ~
  deep: [{1: 1.10}, [on, 0x10, 1e3, "010"]]
"""


def test_parameters_have_the_values_that_stock_gives_them(one, tmp_path):
    keys = PARAMETERS.replace("yes: no", '"yes": no').replace("null: ~", '"null": ~')
    spec = one(keys)

    document = {"deployments": [{"name": "one", **yaml.safe_load(keys)}]}
    (tmp_path / "stock.yaml").write_text(yaml.safe_dump(document))
    [stock], _ = _load_deploy_configs_and_actions(tmp_path / "stock.yaml", console=Console())
    assert spec.says.parameters == {**stock["parameters"], "deep": [{"1": 1.1}, [True, 16, "1e3", "010"]]}
    assert spec.says.parameters["octal"] == 83


def test_two_flows_may_have_a_deployment_of_one_name(load, tmp_path):
    found, told = load(
        f"{PULL}deployments:\n"
        "  - {name: production, entrypoint: flows/orders.py:orders, work_pool: {name: pool}}\n"
        "  - {name: production, entrypoint: flows/stock.py:stock, work_pool: {name: pool}}\n"
        "  - {name: test, entrypoint: flows/stock.py:stock, work_pool: {name: pool}}\n"
    )

    assert told == []
    assert [spec.id for spec in found.deployments] == ["production (line 3)", "production (line 4)", "test"]
    assert [spec.name for spec in found.deployments] == ["production", "production", "test"]
    file = tmp_path / "prefect.yaml"
    chosen = read_selection(file, {}, ["stock/production"])
    assert chosen.names() == {"production (line 3)", "production (line 4)"}
    flows = {"production (line 3)": "orders", "production (line 4)": "stock"}
    assert chosen.refused(flows) == {"production (line 3)"}
    (spec,) = load_file(file, {}, {"production (line 4)"}).deployments
    assert spec.says.entrypoint == "flows/stock.py:stock"


def test_one_name_twice_for_one_flow_or_in_one_line_is_told(load):
    same = "{name: a, entrypoint: 'f.py:x', work_pool: {name: p}}"
    other = same.replace("f.py", "g.py")
    _, told = load(f"{PULL}deployments:\n  - {same}\n  - {same}\n")
    assert told == ["4: two deployments of the same flow are named 'a', the other one in line 3; rename one."]
    _, told = load(f"{PULL}deployments: [{same}, {other}]\n")
    assert told == ["2: two deployments of the same line are named 'a', the other one in line 2; rename one."]


@pytest.mark.parametrize(
    "entrypoint",
    [
        "flows.one.run",
        "flows.one:run",
        "one:run",
        "flows/one.py:Runs.nightly",
        "./flows/one.py:run",
        "flöws/ä b.py:run",
    ],
)
def test_every_form_of_an_entrypoint_that_prefect_loads_is_taken(load, entrypoint):
    found, told = load(
        f"{PULL}deployments: [{{name: one, entrypoint: '{entrypoint}', work_pool: {{name: p}}}}]"
    )
    assert told == []
    assert found.deployments[0].says.entrypoint == entrypoint


@pytest.mark.parametrize(
    "entrypoint",
    ["run", "flows/one.py:", "flows/one:run", "../one.py:run", "C:/one.py:run", "a\\one.py:run", "a..b"],
)
def test_what_is_no_entrypoint_is_refused(load, entrypoint):
    _, (told,) = load(f"{PULL}deployments: [{{name: o, entrypoint: '{entrypoint}', work_pool: {{name: p}}}}]")
    assert told.startswith("2: deployment 'o': 'entrypoint' must have the form 'folder/file.py:function', ")


def test_the_older_place_of_a_schedule_is_read(one):
    spec = one(
        'schedule: {cron: "0 * * * *", timezone: Europe/Paris, active: false}\nis_schedule_active: true'
    )
    (schedule,) = spec.says.schedules
    assert schedule.rule == {"cron": "0 * * * *", "timezone": "Europe/Paris"}
    assert (schedule.slug, schedule.active) == ("schedule-1", False)
    for nothing in (
        "schedule: null",
        "schedule: {}",
        "schedule:\nis_schedule_active: true",
        "schedules: null",
    ):
        assert one(nothing).says.schedules == ()


def test_x_keys_pass_everywhere_and_what_they_hold_is_not_looked_at(load):
    found, told = load(
        """\
        x-pool: &pool {name: yeedu-pool, x-why: "{{ $NOPE }}"}
        x-pull: &pull [{prefect.deployments.steps.git_clone: {repository: x}}]
        x-notes: ["{{ nobody.fills }}", "{{ $NOPE }}"]
        pull: *pull
        deployments:
          - name: one
            x-owner: {team: "{{ $NOPE }}"}
            entrypoint: flows/one.py:run
            work_pool: {<<: *pool, work_queue_name: urgent}
            concurrency_limit: {limit: 1, x-since: 2024}
            schedules: [{cron: "* * * * *", x-note: lunch}]
            triggers: [{expect: [a], x-note: b}]
        """
    )
    assert told == []
    (spec,) = found.deployments
    pool = spec.says.work_pool
    assert (pool.name, pool.work_queue_name, spec.says.limit.limit) == ("yeedu-pool", "urgent", 1)
    assert spec.says.triggers == ({"name": "one__automation_1", "expect": ["a"]},)


def test_entries_that_cannot_be_used_do_not_stop_the_others(load):
    found, told = load(
        f"""\
{PULL}deployments:
  - {{name: null, entrypoint: null, work_pool: {{name: null}}, schedules: [], build: null}}
  - name: half-done
    entrypoint: flows/one.py:run
  - name: good
{ENTRY}
  - 5
  - name: breaks-off
    entrypoint: flows/one.py:run
    pull: [{{prefect.deployments.steps.git_clone: {{}}}}]
    work_pool: {{name: pool}}
"""
    )
    assert [spec.id for spec in found.deployments] == ["good"]
    assert list(found.errors) == ["line 3", "half-done", "line 10", "breaks-off"]
    assert told == [
        "3: deployment 1: 'entrypoint' is missing; write 'entrypoint: folder/file.py:function'.",
        "3: deployment 1: 'name' is missing; write 'name: NAME'.",
        "3: deployment 1: work_pool: 'name' is missing; write 'name: NAME'.",
        "4: deployment 'half-done': 'work_pool' is missing; write 'work_pool: {name: NAME}'.",
        "10: deployment 4 must be a mapping, but it is 5.",
        "13: deployment 'breaks-off': git_clone: 'repository' is missing; add it.",
    ]


def test_a_mistake_in_the_files_pull_stops_only_those_that_use_it(load):
    found, _ = load(
        "pull: [{prefect.deployments.steps.git_clon: {repository: x}}]\ndeployments:\n"
        f"  - name: without\n{ENTRY}"
        f"  - name: with\n{ENTRY}    pull: [{{prefect.deployments.steps.git_clone: {{repository: x}}}}]\n"
    )
    assert ([spec.id for spec in found.deployments], list(found.errors)) == (["with"], ["without"])


@pytest.mark.parametrize(
    "pull", ["[]", "[{prefect.deployments.steps.set_working_directory: {directory: /opt}}]"]
)
def test_a_deployment_without_pull_steps_has_its_code_in_the_image(one, pull):
    spec = one(f"pull: {pull}")
    assert [step.function for step in spec.source_pull] == ["prefect.deployments.steps.git_clone"]
    assert len(spec.pull) == len(yaml.safe_load(pull))


@pytest.mark.parametrize("pull", ["{}", "null", ""])
def test_an_empty_pull_is_as_good_as_none(one, pull):
    spec = one(f"pull: {pull}")
    assert spec.pull == spec.source_pull
    assert spec.pull


@pytest.mark.parametrize("character", "/%&<>")
@pytest.mark.parametrize("place", ["name: {}", "name: o\n    work_pool: {{name: {}}}"])
def test_names_that_the_server_refuses_are_refused_by_the_file(load, character, place):
    text = (
        f"{PULL}deployments:\n  - {place.format(repr(f'a{character}b'))}\n    entrypoint: flows/one.py:run\n"
    )
    if "work_pool" not in place:
        text += "    work_pool: {name: p}\n"
    _, (told,) = load(text)
    assert told.endswith("'name' may not contain any of / % & > <; write 'a-b'.")


def test_a_grace_period_alone_has_a_strategy_as_the_server_wants_it(one):
    spec = one("concurrency_limit: {limit: 2, grace_period_seconds: 90}")
    assert spec.says.limit.options == {"collision_strategy": "ENQUEUE", "grace_period_seconds": 90}
    assert one("concurrency_limit: {limit: 2}").says.limit.options is None
    assert one("concurrency_limit: 010").says.limit.limit == 8


def test_a_bom_and_windows_line_ends_are_read(tmp_path):
    file = tmp_path / "prefect.yaml"
    text = f"{PULL}deployments:\n  - name: one\n{ENTRY}".replace("\n", "\r\n")
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [spec.id for spec in load_file(file, {}).deployments] == ["one"]


def test_a_key_given_twice_stops_only_its_own_deployment(load):
    found, told = load(
        f"""\
{PULL}x-tags: &tags [a]
deployments:
  - name: twice
    parameters: &rows {{rows: 1, rows: 2}}
{ENTRY}  - name: good
    tags: *tags
{ENTRY}  - name: shares
    parameters: *rows
{ENTRY}  - name: "1:99x"
    version: 2026-02-31
{ENTRY}"""
    )
    assert [spec.id for spec in found.deployments] == ["good"]
    assert list(found.errors) == ["twice", "shares", "1:99x"]
    repeated = "5: 'rows' is given twice in one mapping, first in line 5; leave one."
    assert told[:2] == [repeated, repeated]
    assert told[2].startswith("17: '2026-02-31' cannot be read ")


def test_a_key_given_twice_outside_of_deployments_stops_the_file(load):
    with pytest.raises(SpecError, match="'name' is given twice in one mapping"):
        load(f"name: a\nname: b\n{PULL}deployments:\n  - name: one\n{ENTRY}")


FLOWS = {"FLOWS_GIT_URL": "https://git.example.com/acme/flows.git"}
OWN_CLONE = {
    "prefect.deployments.steps.git_clone": {
        "repository": "{{ $FLOWS_GIT_URL }}",
        "branch": "{{ $FLOWS_GIT_REF }}",
    }
}


@pytest.mark.parametrize(
    ("of_file", "own", "registered"),
    [
        ("", "", [OWN_CLONE]),
        ("pull: null", "", [OWN_CLONE]),
        ("pull: {}", "pull: null", [OWN_CLONE]),
        ("pull: []", "", []),
        ("pull: []", "pull: null", [OWN_CLONE]),
        ("", "pull: []", []),
        (f"pull: [{IN_IMAGE}]", "", [yaml.safe_load(IN_IMAGE)]),
        ("", f"pull: [{IN_IMAGE}]", [yaml.safe_load(IN_IMAGE)]),
    ],
)
def test_code_that_no_step_clones_is_that_of_the_flows_own_repository(load, of_file, own, registered):
    text = f"{of_file}\ndeployments:\n  - name: one\n{ENTRY}    {own}\n"
    found, told = load(text, FLOWS)
    assert told == []
    (spec,) = found.deployments
    assert [step.as_prefect() for step in spec.pull] == registered
    assert [step.as_prefect() for step in spec.source_pull] == [OWN_CLONE]
    source, directory = source_of(spec.source_pull, {**FLOWS, "FLOWS_GIT_REF": "main"})
    assert (source.url, source.revision, directory) == (FLOWS["FLOWS_GIT_URL"], "main", "")

    _, (told,) = load(text)
    assert "has no prefect.deployments.steps.git_clone step under 'pull'" in told
    assert told.endswith("; set FLOWS_GIT_URL, or add such a step.")


def test_code_that_another_step_fetches_needs_a_clone_to_be_read_from(load):
    step = "prefect_aws.deployments.steps.pull_from_s3: {bucket: b, folder: f}"
    _, (told,) = load(f"pull: [{{{step}}}]\ndeployments:\n  - name: one\n{ENTRY}", FLOWS)
    assert told.endswith("and flow code is checked and run from git; add such a step.")


def test_what_stock_does_not_read_at_the_top_is_not_filled_in(load):
    found, told = load(
        'prefect-version: "{{ $NOBODY_SETS_THIS }}"\n'
        'description: "For {{ image_name }}"\n'
        "required_inputs: {image_name: The name of the image}\n"
        f"{PULL}deployments:\n  - name: one\n{ENTRY}"
    )
    assert ([spec.id for spec in found.deployments], told) == (["one"], [])


def test_an_empty_tag_is_none(one):
    assert one("tags: [yes, null, ~]").says.tags == ("yes",)


def test_a_trigger_that_only_the_cloud_has_is_refused(load):
    trigger = 'triggers: [{type: metric, metric: {name: successes, operator: "<", threshold: 0.9}}]'
    _, told = load(f"{PULL}deployments:\n  - name: one\n{ENTRY}    {trigger}\n")
    assert told == [
        "6: deployment 'one': trigger 1: 'type' 'metric' exists in Prefect Cloud only; "
        "use 'event', 'compound' or 'sequence'."
    ]
