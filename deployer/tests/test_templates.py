"""Templates of prefect.yaml: a real server's values, put in as Prefect's own templating puts them in."""

# ruff: noqa: E501 - files as people write them

import asyncio

import pytest
from prefect.blocks.system import Secret
from prefect.exceptions import ObjectNotFound
from prefect.filesystems import LocalFileSystem
from prefect.utilities.templating import apply_values, resolve_block_document_references, resolve_variables
from prefect.variables import Variable

from yeedu_deployer.declared.prefect_yaml import load_file
from yeedu_deployer.declared.templating import Templates
from yeedu_deployer.declared.yaml_marks import Problems, marked, value_of

HEAD = """
pull:
  - prefect.deployments.steps.git_clone: {repository: "{{ $URL }}", access_token: "{{ prefect.blocks.secret.t }}"}
deployments:
  - name: one
    entrypoint: flows/one.py:run
"""
POOL = "    work_pool: {name: pool}\n"


class ServerLookup:
    """Asks the server, by what Prefect itself uses."""

    def __init__(self, client):
        self.client = client

    def variable(self, name):
        found = self.client.read_variable_by_name(name)
        if found is None:
            raise LookupError(f"the server has no variable {name!r}")
        return found.value

    def block(self, kind, name, keypath):
        path = ".".join(part for part in (kind, name, keypath) if part)
        try:
            return asyncio.run(resolve_block_document_references(f"{{{{ prefect.blocks.{path} }}}}"))
        except ObjectNotFound:
            raise LookupError(f"the server has no block {kind}/{name}") from None
        except ValueError:
            raise LookupError(f"the block {kind}/{name} has no {keypath!r}") from None


@pytest.fixture
def lookup(client):
    """Of a server with some variables and blocks."""
    for name, value in {"count": 7, "pool": "of-a-variable", "on": True, "tree": {"a": [1, "b"]}}.items():
        Variable.set(name, value, overwrite=True)
    Secret(value="canary").save("t", overwrite=True)
    Secret(value={"key": [{"deep": 5}]}).save("tree", overwrite=True)
    LocalFileSystem(basepath="/data").save("data", overwrite=True)
    yield ServerLookup(client)
    for name in ("count", "pool", "on", "tree"):
        client.delete_variable_by_name(name)


@pytest.fixture
def load(tmp_path, lookup):
    def read(text, *, with_server=True):
        file = tmp_path / "prefect.yaml"
        file.write_text(HEAD + text, encoding="utf-8")
        found = load_file(file, {"URL": "http://a"}, lookup=lookup if with_server else None)
        told = [one.removeprefix(f"{file}:") for error in found.errors.values() for one in error.problems]
        return found, told

    return read


async def as_prefect(template, environment):
    """What `prefect deploy` makes of a value, in its order."""
    resolved = await resolve_variables(await resolve_block_document_references(template))
    return apply_values(apply_values(resolved, environment, remove_notset=False), {}, skip_prefixes=["ctx."])


TEMPLATES = [
    "{{ prefect.variables.count }}",
    "{{prefect.variables.on}}",
    " {{ prefect.variables.count }}",
    "n={{ prefect.variables.count }}, {{ prefect.variables.on }}",
    "{{ prefect.variables.tree }}",
    "all: {{ prefect.variables.tree }}",
    {"deep": ["{{ prefect.variables.tree }}", {"x": "{{ prefect.blocks.secret.t }}"}]},
    "{{ prefect.blocks.secret.t }}",
    "Bearer {{ prefect.blocks.secret.t }}",
    "{{ prefect.blocks.secret.t.value }}",
    "{{ prefect.blocks.secret.tree }}",
    "{{ prefect.blocks.secret.tree.value.key[0].deep }}",
    "{{ prefect.blocks.local-file-system.data.basepath }}",
    "{{ $URL }}/{{ prefect.variables.pool }}/{{ ctx.flow_run.id }}",
    "{{ $URL }}",
    "{{ not a template }} {{ x | upper }} { {x} }",
    5,
    None,
]


def test_a_template_becomes_what_prefect_makes_of_it(lookup, monkeypatch):
    monkeypatch.setenv("URL", "http://a")
    problems = Problems("file")

    made = Templates({"URL": "http://a"}, lookup).put_in(marked(TEMPLATES, 1), "here", problems, 1)

    assert problems.found == []
    assert value_of(made) == asyncio.run(as_prefect(TEMPLATES, {"URL": "http://a"}))


def test_everything_of_a_deployment_but_its_pull_steps_is_filled_in_and_keeps_its_type(load):
    found, told = load(
        """\
    concurrency_limit: "{{ prefect.variables.count }}"
    paused: "{{ prefect.variables.on }}"
    version: "{{ prefect.variables.count }}"
    tags: ["{{ prefect.variables.pool }}"]
    parameters: {bucket: "{{ prefect.variables.pool }}", rows: "{{ prefect.variables.count }}"}
    schedules: [{cron: "{{ prefect.variables.count }} 5 * * *", active: "{{ prefect.variables.on }}"}]
    triggers:
      - expect: ["{{ prefect.variables.pool }}"]
        enabled: "{{ prefect.variables.on }}"
        parameters: {rows: "{{ prefect.variables.count }}", who: "{{ event.resource.id }}"}
    work_pool:
      name: "{{ prefect.variables.pool }}"
      job_variables: {env: {TOKEN: "{{ prefect.blocks.secret.t }}"}}
"""
    )

    assert told == []
    (spec,) = found.deployments
    assert (spec.says.concurrency_limit, spec.says.paused, spec.says.version, spec.says.tags) == (
        7,
        True,
        "7",
        ("of-a-variable",),
    )
    assert spec.says.parameters == {"bucket": "of-a-variable", "rows": 7}
    assert (spec.says.schedules[0].rule["cron"], spec.says.schedules[0].active) == ("7 5 * * *", True)
    assert spec.says.triggers[0] == {
        "name": "one__automation_1",
        "expect": ["of-a-variable"],
        "enabled": True,
        "parameters": {"rows": 7, "who": "{{ event.resource.id }}"},
    }
    assert spec.says.work_pool.name == "of-a-variable"
    assert spec.says.work_pool.job_variables == {"env": {"TOKEN": "canary"}}
    assert spec.pull[0].inputs == {
        "repository": "{{ $URL }}",
        "access_token": "{{ prefect.blocks.secret.t }}",
    }


ABSENT = [
    ("{{ prefect.variables.bucket }}", "the server has no variable 'bucket'."),
    ("{{ prefect.blocks.secret.nope }}", "the server has no block secret/nope."),
    ("{{ prefect.blocks.secret.tree.value.nope }}", "the block secret/tree has no 'value.nope'."),
    (
        "{{ prefect.blocks.secret }}",
        "'{{ prefect.blocks.secret }}' needs a block's type and name: {{ prefect.blocks.TYPE.NAME }}.",
    ),
    (
        "x{{ prefect.blocks.secret.tree }}",
        "'{{ prefect.blocks.secret.tree }}' is a whole block; name a part of it to put it into a text.",
    ),
    (
        "{{ $NOPE }}",
        "the environment variable NOPE is not set; set it, in flows.env if it is your own, and apply again.",
    ),
]


def test_what_is_not_there_gets_one_sentence_with_its_line(load):
    for value, reason in ABSENT:
        for text in (
            f"    parameters:\n      a: 1\n      b: '{value}'\n",
            f"    tags: []\n    version: 1\n    paused: '{value}'\n",
        ):
            _, told = load(text + POOL)
            assert told == [f"9: deployment 'one': {reason}"]


def test_a_variable_of_a_wrong_type_is_told_as_a_value_of_the_file_would_be(load):
    _, told = load("    paused: '{{ prefect.variables.tree }}'\n" + POOL)
    assert told == ["7: deployment 'one': 'paused' must be true or false, but it is a mapping."]


def test_without_a_server_all_else_is_checked(load):
    found, told = load("    concurrency_limit: '{{ prefect.variables.count }}'\n" + POOL, with_server=False)
    assert (found.deployments, told) == ((), [])

    found, told = load("    description: Of {{ prefect.variables.pool }}\n" + POOL, with_server=False)
    assert found.deployments[0].says.description == "Of {{ prefect.variables.pool }}"

    wrong = "    paused: '{{ prefect.variables.on }}'\n    tag: x\n"
    _, told = load(wrong + POOL, with_server=False)
    assert told == ["8: deployment 'one': the key 'tag' is unknown; did you mean 'tags'?"]


def test_what_the_server_fills_in_for_each_run_passes_as_it_is(load):
    found, told = load(
        """\
    parameters:
      rows: {__prefect_kind: workspace_variable, variable_name: rows}
      who: {__prefect_kind: jinja, template: "{{ flow_run.name }}"}
      list: [1, {__prefect_kind: json, value: "[1]"}]
      plain: {kind: x}
"""
        + POOL
    )

    assert told == []
    parameters = found.deployments[0].says.parameters
    assert parameters["rows"] == {"__prefect_kind": "workspace_variable", "variable_name": "rows"}
    assert parameters["who"] == {"__prefect_kind": "jinja", "template": "{{ flow_run.name }}"}
    assert parameters["list"] == [1, {"__prefect_kind": "json", "value": "[1]"}]
