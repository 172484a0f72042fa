"""What prefect.yaml may say, and the one sentence for everything that it may not."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import textwrap

import pytest
from declared import load_deployments

from yeedu_deployer.declared.platform_files import load_pools
from yeedu_deployer.errors import SpecError

GOOD = """\
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
deployments:
  - name: one
    entrypoint: flows/one.py:run
    work_pool:
      name: yeedu-pool
"""


@pytest.fixture
def load(tmp_path):
    def read(text, environment=None):
        file = tmp_path / "prefect.yaml"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        try:
            return load_deployments(file, environment or {})
        except SpecError as error:
            return [problem.removeprefix(f"{file}:") for problem in error.problems]

    return read


def test_a_minimal_file_takes_the_defaults(load):
    (spec,) = load(GOOD)

    assert (spec.name, spec.says.entrypoint, spec.says.work_pool.name) == (
        "one",
        "flows/one.py:run",
        "yeedu-pool",
    )
    assert (spec.says.paused, spec.says.description, spec.says.concurrency_limit) == (None, None, None)
    assert spec.says.enforce_parameter_schema is None
    assert spec.says.schedules == ()
    assert spec.pull[0].inputs == {"repository": "{{ $FLOWS_GIT_URL }}"}


def test_every_kind_of_schedule_is_read(load):
    (spec,) = load(
        GOOD
        + """\
    schedules:
      - {cron: "*/5 * * * *", slug: often, timezone: Europe/Vienna, day_or: false}
      - {interval: 3600, anchor_date: 2026-01-01T00:00:00+00:00}
      - {rrule: "FREQ=DAILY;COUNT=3", active: false, parameters: {count: 2}}
"""
    )

    assert [schedule.slug for schedule in spec.says.schedules] == ["often", "schedule-2", "schedule-3"]
    assert spec.says.schedules[0].rule == {
        "cron": "*/5 * * * *",
        "timezone": "Europe/Vienna",
        "day_or": False,
    }
    assert spec.says.schedules[1].rule == {
        "interval": 3600,
        "timezone": "UTC",
        "anchor_date": "2026-01-01T00:00:00+00:00",
    }
    assert (spec.says.schedules[2].active, spec.says.schedules[2].parameters) == (False, {"count": 2})


def test_anchors_and_merge_keys_work_with_explicit_keys_winning(load):
    (spec,) = load(
        """\
        definitions:
          base: &base {tags: [a], entrypoint: flows/one.py:run, work_pool: {name: x}}
          clock: &clock {cron: "* * * * *", slug: s}
        deployments:
          - <<: *base
            name: one
            tags: [b]
            pull: [{prefect.deployments.steps.git_clone: {repository: x}}]
            schedules: [{<<: *clock, active: false}]
        """
    )

    assert (spec.says.tags, spec.says.work_pool.name) == (("b",), "x")
    assert (spec.says.schedules[0].slug, spec.says.schedules[0].active) == ("s", False)


def test_templates_are_resolved_outside_of_pull_steps_only(load):
    text = (
        GOOD
        + "    parameters: {url: '{{ $URL }}/x', list: ['{{ $URL }}'], other: '{{ prefect.variables.v }}'}\n"
    )

    (spec,) = load(text, {"URL": "http://a"})

    assert spec.says.parameters == {
        "url": "http://a/x",
        "list": ["http://a"],
        "other": "{{ prefect.variables.v }}",
    }
    assert spec.pull[0].inputs["repository"] == "{{ $FLOWS_GIT_URL }}"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("entrypoint:", "entrypont:"), "6: deployment 'one': the key 'entrypont' is unknown; did you mean 'entrypoint'?"),
        (("deployments:", "deploymnts:"), "4: the file: the key 'deploymnts' is unknown; did you mean 'deployments'?"),
        (("      name: yeedu-pool", "      nme: x"), "8: deployment 'one': work_pool: the key 'nme' is unknown; did you mean 'name'?"),
        (("repository:", "repositry:"), "3: the file: git_clone: the key 'repositry' is unknown; did you mean 'repository'?"),
        (("  - name: one\n    entry", "  - entry"), "5: deployment 1: 'name' is missing; write 'name: NAME'."),
        (("    entrypoint: flows/one.py:run\n", ""), "5: deployment 'one': 'entrypoint' is missing; write 'entrypoint: folder/file.py:function'."),
        (("flows/one.py:run", "flows/one.py"), "6: deployment 'one': 'entrypoint' must have the form 'folder/file.py:function', relative to the repository, or 'package.module:function', but it is 'flows/one.py'."),
        (("flows/one.py:run", "/flows/one.py:run"), "6: deployment 'one': 'entrypoint' must have the form 'folder/file.py:function', relative to the repository, or 'package.module:function', but it is '/flows/one.py:run'."),
        (("    work_pool:\n      name: yeedu-pool\n", ""), "5: deployment 'one': 'work_pool' is missing; write 'work_pool: {name: NAME}'."),
        (("name: one", "name: one/two"), "5: deployment 'one/two': 'name' may not contain any of / % & > <; write 'one-two'."),
        (("name: one", "name: [one]"), "5: deployment 1: 'name' must be a text, but it is a list."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    tags: {a: b}"), "9: deployment 'one': 'tags' must be a list, but it is a mapping."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    parameters: 5"), "9: deployment 'one': 'parameters' must be a mapping, but it is 5."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    paused: maybe"), "9: deployment 'one': 'paused' must be true or false, but it is 'maybe'."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    concurrency_limit: 0"), "9: deployment 'one': 'concurrency_limit' must be a whole number of at least 1, but it is 0."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    concurrency_limit: {limit: 1, collision_strategy: WAIT}"), "9: deployment 'one': concurrency_limit: 'collision_strategy' must be 'ENQUEUE' or 'CANCEL_NEW', but it is 'WAIT'."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    parameters: {a: '{{ $NOPE }}'}"), "9: deployment 'one': the environment variable NOPE is not set; set it, in flows.env if it is your own, and apply again."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    triggers: [{exspect: [x]}]"), "9: deployment 'one': trigger 1: the key 'exspect' is unknown; did you mean 'expect'?"),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{cron: '* * * * *', anchor_date: x}]"), "9: deployment 'one': schedule 1: 'anchor_date' is for an interval."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    tags: ['catch-up:latets']"), "9: deployment 'one': 'tags' has 'catch-up:latets', which is no catch-up policy; did you mean 'catch-up:latest'?"),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedule: {cron: '* * * * *'}\n    schedules: [{cron: '1 * * * *'}]"), "9: deployment 'one': 'schedule' and 'schedules' are both given; leave 'schedules' alone."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    is_schedule_active: false"), "9: deployment 'one': 'is_schedule_active' has no effect; write 'active: false' below the schedule."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    job_variables: {env: {}}"), "9: deployment 'one': the key 'job_variables' is unknown; write it under 'work_pool'."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    working_dir: /srv"), "9: deployment 'one': the key 'working_dir' is unknown; leave it out, or call it 'x-working_dir'; known keys are build, concurrency_limit, description, enforce_parameter_schema, entrypoint, flow_name, is_schedule_active, name, parameters, paused, pull, push, schedule, schedules, sla, tags, triggers, version, version_type, work_pool."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    parameters: {a: 'v{{ image.tag }}'}"), "9: deployment 'one': 'v{{ image.tag }}' would be filled in by a build step, which there is none of; write the value, or {{ $NAME }}, {{ prefect.variables.NAME }} or {{ prefect.blocks.TYPE.NAME }}."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    parameters: {on: 1}"), "9: YAML takes the key 'on' for True; put it in quotes."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    parameters: {limit: .inf}"), "9: '.inf' is a number that JSON does not have; put it in quotes."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{rrule: 'FREQ=NEVER'}]"), "9: deployment 'one': schedule 1: 'rrule' is 'FREQ=NEVER', which is not valid: Invalid RRule string \"FREQ=NEVER\": invalid 'FREQ': NEVER; write an iCalendar rule, such as 'FREQ=DAILY;BYHOUR=6'."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{rrule: '{\"rrule\": 5}'}]"), "9: deployment 'one': schedule 1: 'rrule' is '{\"rrule\": 5}', which is not valid: Input should be a valid string; write an iCalendar rule, such as 'FREQ=DAILY;BYHOUR=6'."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{interval: 60, anchor_date: 20260101}]"), "9: deployment 'one': schedule 1: 'anchor_date' must be a date such as 2026-01-01, or a date and a time."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    sla: [{name: x}]"), "9: deployment 'one': 'sla' exists in Prefect Cloud only; leave it out."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{slug: x}]"), "9: deployment 'one': schedule 1 needs exactly one of cron, interval and rrule, but has none of them; write one."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{cron: '* * *'}]"), "9: deployment 'one': schedule 1: 'cron' is '* * *', which is not valid; write minute, hour, day, month and weekday, such as '0 6 * * 1'."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{cron: '* * * * *', timezone: Mars/Base}]"), "9: deployment 'one': schedule 1: 'timezone' is 'Mars/Base', which is not valid; write an IANA name, such as Europe/Berlin."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{interval: 0}]"), "9: deployment 'one': schedule 1: 'interval' is 0, which is not valid: Input should be greater than 0 seconds; write seconds, such as 3600, or PT1H."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{interval: 0.001}]"), "9: deployment 'one': schedule 1: 'interval' is 0.001, which is not valid: Input should be a second or more; write seconds, such as 3600, or PT1H."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    schedules: [{cron: '* * * * *', slug: a}, {cron: '1 * * * *', slug: a}]"), "9: deployment 'one': schedule 2: 'slug' is taken already: 'a'; choose another."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n      name: other"), "9: 'name' is given twice in one mapping, first in line 8; leave one."),
        (("pull:", "build: [{a: {}}]\npull:"), "1: the file: 'build' is not supported: flow code comes from git when a run starts; leave it empty."),
        (("pull:", "pull:\n  - prefect.deployments.steps.pip_install_requirements: {directory: x}"), "2: the file: the pull step 'prefect.deployments.steps.pip_install_requirements' would change the environment that all runs of a worker share; add the packages to flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)."),
        (("pull:", "pull:\n  - prefect.deployments.steps.utility.pip_install_requirements: {}"), "2: the file: the pull step 'prefect.deployments.steps.utility.pip_install_requirements' would change the environment that all runs of a worker share; add the packages to flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)."),
        (("pull:", "build: [{a: {image: '{{ $NOPE }}'}}]\npull:"), "1: the file: 'build' is not supported: flow code comes from git when a run starts; leave it empty."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    push: [{a: {image: '{{ x.y }}'}}]"), "9: deployment 'one': 'push' is not supported: flow code comes from git when a run starts; leave it empty."),
        (("      name: yeedu-pool", "      name: yeedu-pool\n    work_queue_name: fast"), "9: deployment 'one': the key 'work_queue_name' is unknown; write it under 'work_pool'."),
        (("      name: yeedu-pool", "      nme: 5\n      name: [1]"), "9: deployment 'one': work_pool: 'name' must be a text, but it is a list."),
        (("  - name: one", " - name: one\n  x"), "6: this is not valid YAML: expected <block end>, but found '<scalar>'; check quotes, colons and indentation up to here."),
        (("name: one", "name: 'one"), "9: this is not valid YAML: found unexpected end of stream; check quotes, colons and indentation up to here."),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence_with_its_line(load, change, problem):
    broken = GOOD.replace(*change)
    assert broken != GOOD
    assert problem in load(broken)


def test_one_mistake_is_told_once(load):
    assert load(GOOD.replace("flows/one.py:run", "flows/one.py")) == [
        "6: deployment 'one': 'entrypoint' must have the form 'folder/file.py:function', relative to the "
        "repository, or 'package.module:function', but it is 'flows/one.py'."
    ]


def test_two_deployments_of_one_flow_and_name_are_refused(load):
    twin = GOOD + GOOD.partition("deployments:\n")[2]
    assert load(twin) == [
        "9: two deployments of the same flow are named 'one', the other one in line 5; rename one."
    ]


def test_several_mistakes_are_told_together_in_the_order_of_lines(load):
    text = GOOD.replace("entrypoint:", "entrypont:").replace(
        "      name: yeedu-pool", "      nam: yeedu-pool"
    )
    assert [problem.partition(":")[0] for problem in load(text)] == ["6", "8"]


def test_a_mistake_in_an_anchor_is_told_at_the_anchor_and_once(load):
    text = "definitions: {pool: &pool {nme: x}}\n" + GOOD.replace("\n      name: yeedu-pool", " *pool")
    assert load(text) == ["1: deployment 'one': work_pool: the key 'nme' is unknown; did you mean 'name'?"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: the file must be a mapping, but it is empty."),
        ("- a", "1: the file must be a mapping, but it is a list."),
        ("deployments:", "1: the file declares no deployments; write them under 'deployments'."),
        ("x-deployments: []", "1: the file declares no deployments; write them under 'deployments'."),
        ("deployments: {}", "1: the file: 'deployments' must be a list, but it is a mapping."),
        ("deployments: [x]", "1: deployment 1 must be a mapping, but it is 'x'."),
        ("a: &a [*a]", "1: an anchor contains itself; write out what is meant."),
        ("{[]: x}", "1: a key must be a text, but this one is a list."),
        ("a: !!set {x}", "1: a value of the kind 'tag:yaml.org,2002:set' is not supported; remove the tag."),
        ("a: 2026-02-31", "1: '2026-02-31' cannot be read (day is out of range for month); put it in quotes."),
        ("a: " + "[" * 5000, "1: lists and mappings are nested too deeply to be read; write fewer levels."),
        ('a: "\\ud800"', "1: '\\ud800' holds half a character; write the whole one."),
        ("a: &a [1, 1, 1, 1]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(6)), "1: with all anchors put in, the file has more than 200000 values; use fewer."),
        ("name: !!python/object:os.system x", "1: this is not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'; remove the tag."),
    ],
)  # fmt: skip
def test_a_file_of_another_shape_gets_one_sentence(load, text, problem):
    assert load(text) == [problem]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"nowhere\.yaml:1: there is no such file; name it with --file\."):
        load_deployments(tmp_path / "nowhere.yaml", {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pools: []", "1: the file: the key 'pools' is unknown; did you mean 'work_pools'?"),
        ("work_pools: [{type: process}]", "1: work pool 1: 'name' is missing; write 'name: NAME'."),
        ("work_pools: [{name: a, type: ecs}]", "1: work pool 'a': 'type' must be process, docker or kubernetes, but it is 'ecs'; create a pool of another type by hand."),
        ("work_pools: [{name: a}, {name: a}]", "1: work pool 'a': 'name' is taken already; choose another."),
    ],
)  # fmt: skip
def test_a_mistake_in_the_work_pools_gets_one_sentence(tmp_path, text, problem):
    file = tmp_path / "work-pools.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_pools(file, {})
    assert caught.value.problems == (f"{file}:{problem}",)
