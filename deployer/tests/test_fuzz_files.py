"""Whatever a file holds, it is read, or each mistake gets a sentence that names file and line."""

# ruff: noqa: E501 - tables of what may stand somewhere

import re

import pytest
import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from prefect.client.schemas.actions import DeploymentScheduleCreate

from yeedu_deployer.declared.environments import load_environment
from yeedu_deployer.declared.models import Concurrency, Deployment, PrefectYaml, WorkPool
from yeedu_deployer.declared.platform_files import load_alerts, load_pools
from yeedu_deployer.declared.prefect_yaml import load_file
from yeedu_deployer.declared.schedules import Schedule, to_prefect_schedule
from yeedu_deployer.declared.selection import Entry, Selection
from yeedu_deployer.errors import SpecError

SENTENCE = re.compile(r"[1-9]\d*: \S[^\n]*[.?]")
PLAIN = "null true no 1 010 1.10 12:30 2026-01-31 2026-02-31 .nan 0x1F 1_0 ~ = << *a &a !!binary ! ? [ } ' | % - @"
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(allow_nan=True),
    st.dates(),
    st.datetimes(),
    st.text(max_size=8),
    st.sampled_from(
        [
            *(
                "",
                " ",
                "{{ $X }}",
                "{{ $NOPE }}",
                "{{ a.b }}",
                "{{ prefect.variables.x }}",
                "{{ prefect.blocks.a }}",
            ),
            *(
                "x-y",
                "a/b",
                "* * * * *",
                "FREQ=DAILY",
                '{"rrule": 1}',
                "{",
                "PT1H",
                "2026-01-01",
                "UTC",
                "catch-up:x",
            ),
            *(
                "prefect.deployments.steps.git_clone",
                "prefect.deployments",
                "a.b",
                "event",
                "Proactive",
                "ENQUEUE",
            ),
            "9" * 5000,
        ]
    ),
)
NAMES = sorted(
    {field.alias or name for model in (PrefectYaml, Deployment, WorkPool, Concurrency, Schedule) for name, field in model.model_fields.items()}
    | {"repository", "x-a", "type", "expect", "within", "posture", "metric", "require", "prefect.deployments.steps.git_clone"}
)  # fmt: skip
KEYS = st.one_of(st.sampled_from(NAMES), st.text(max_size=4))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
GOOD = {
    "name": "project",
    "pull": [{"prefect.deployments.steps.git_clone": {"repository": "x", "id": "c"}}],
    "deployments": [
        {
            "name": "one",
            "entrypoint": "a.py:b",
            "work_pool": {"name": "pool", "job_variables": {"env": {}}},
            "concurrency_limit": {"limit": 1},
            "parameters": {"a": [1, {"b": 2}]},
            "schedules": [{"cron": "* * * * *", "slug": "s"}, {"interval": 60}],
            "triggers": [{"expect": ["a"], "parameters": {"x": 1}}],
        },
        {"name": "two", "entrypoint": "a.py:b", "work_pool": {"name": "pool"}},
    ],
}
POOLS = {"work_pools": [{"name": "a", "type": "process", "job_variables": {}}]}
ALERTS = {
    "automations": [
        {"name": "a", "trigger": {"type": "event", "posture": "Reactive"}, "notify": {"subject": "s"}}
    ]
}
ENVIRONMENTS = {
    "environments": {
        "staging": {"branch": "b", "suffix": "-s", "work_pools": {"a": "b"}, "parameters": {"one": {}}}
    }
}
SELECTION = Selection((), (Entry("one", "a.py:b"),), "prefect.yaml")
FILES = {
    "prefect": (GOOD, lambda path: load_file(path, {"X": "x"}, keeps_unset=True)),
    "pools": (POOLS, lambda path: load_pools(path, {"X": "x"})),
    "alerts": (ALERTS, lambda path: load_alerts(path, {"X": "x"})),
    "environments": (
        ENVIRONMENTS,
        lambda path: load_environment(path, "staging", {"X": "x"}, SELECTION, keeps_unset=True),
    ),
}
QUICK = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(node, path=()):
    yield path
    for key, one in (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    ):
        yield from places(one, (*path, key))


@st.composite
def documents(draw, good):
    """A right document in which some places have something else."""
    document = yaml.safe_load(yaml.safe_dump(good))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        value = draw(VALUES)
        if not path:
            return value
        parent = document
        for part in path[:-1]:
            parent = parent[part]
        if isinstance(parent, dict) and draw(st.booleans()):
            parent[draw(KEYS)] = value
        else:
            parent[path[-1]] = value
    return document


def check(path, text, read):
    """Read a text, and look at what is said of it."""
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = read(path)
    except SpecError as error:
        told = [*error.problems] or ["an error that says nothing"]
    else:
        told = [one for error in getattr(found, "errors", {}).values() for one in error.problems]
        for spec in getattr(found, "deployments", ()):
            for schedule in spec.says.schedules:
                if "{{" not in str(schedule.rule):
                    DeploymentScheduleCreate(schedule=to_prefect_schedule(schedule.rule), slug=schedule.slug)
    for one in told:
        assert one.startswith(f"{path}:")
        assert SENTENCE.fullmatch(one.removeprefix(f"{path}:")), one


@pytest.mark.parametrize("file", FILES)
@seed(20260131)
@QUICK
@given(data=st.data())
def test_any_value_in_any_place_is_read_or_told(tmp_path, file, data):
    good, read = FILES[file]
    document = data.draw(documents(good))
    try:
        text = yaml.dump(document, allow_unicode=data.draw(st.booleans()))
        text.encode()
    except UnicodeEncodeError:
        return
    check(tmp_path / "file.yaml", text, read)


@seed(20260131)
@QUICK
@given(data=st.data())
def test_any_text_is_read_or_told(tmp_path, data):
    good = yaml.safe_dump(GOOD)
    words = st.one_of(
        st.sampled_from(PLAIN.split()), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    )
    if data.draw(st.booleans()):
        start, length = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, 12))
        text = good[:start] + data.draw(words) + good[start + length :]
    else:
        text = "".join(
            data.draw(
                st.lists(st.one_of(words, st.sampled_from(["\n", "  ", ": ", "- ", ", "])), max_size=30)
            )
        )
    check(tmp_path / "file.yaml", text, FILES["prefect"][1])


def test_no_bytes_are_a_traceback(tmp_path):
    for number, content in enumerate(
        (b"\xff\xfe\x00", b"\x00", b"a: \x85\xa0", b"", b"\xef\xbb\xbf", b"a: \x07")
    ):
        file = tmp_path / f"{number}.yaml"
        file.write_bytes(content)
        with pytest.raises(SpecError) as caught:
            load_file(file, {})
        assert all(SENTENCE.fullmatch(one.removeprefix(f"{file}:")) for one in caught.value.problems)


HOSTILE = {
    "a few levels too many": "[" * 200 + "]" * 200,
    "mappings": "{a: " * 200 + "}" * 200,
    "very many levels": "[" * 20_000,
    "anchors of anchors": "[&a [x], " + "".join(f"&a [{', '.join(['*a'] * 10)}], " for _ in range(6)) + "*a]",
    "a long text many times": f"[&a {'x' * 100_000}, {', '.join(['*a'] * 1000)}]",
    "a byte that is no text": "\0",
    "a number that is too long": "9" * 10_000,
}
WHERE = {
    "prefect": "deployments: [{name: one, entrypoint: 'a.py:b', work_pool: {name: p}, parameters: {a: %s}}]",
    "pools": "work_pools: [{name: a, job_variables: {a: %s}}]",
    "alerts": "automations: [{name: a, notify: {}, trigger: {type: event, match: {a: %s}}}]",
    "environments": "environments: {staging: {branch: b, suffix: -s, parameters: {one: {a: %s}}}}",
}


@pytest.mark.parametrize(
    ("kind", "what"),
    [("prefect", what) for what in HOSTILE] + [(kind, "a few levels too many") for kind in WHERE],
)
def test_a_hostile_file_is_one_short_sentence(tmp_path, kind, what):
    file = tmp_path / "file.yaml"
    file.write_text(WHERE[kind] % HOSTILE[what])
    try:
        errors = list(FILES[kind][1](file).errors.values())
    except SpecError as error:
        errors = [error]
    ((told,),) = [error.problems for error in errors]
    assert SENTENCE.fullmatch(told.removeprefix(f"{file}:"))
    assert len(told) < len(str(file)) + 300
