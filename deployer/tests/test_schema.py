"""The JSON schema for editors: held in step with the parser, and true of the platform's own file."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from yeedu_deployer.declared import keys
from yeedu_deployer.declared.schema import json_schema, text
from yeedu_deployer.declared.spec import load_deployments
from yeedu_deployer.errors import SpecError

FOLDER = Path(__file__).parents[1]
GOOD = {
    "name": "project",
    "pull": [{"prefect.deployments.steps.git_clone": {"repository": "x"}}],
    "deployments": [{"name": "one", "entrypoint": "a.py:b", "work_pool": {"name": "pool"}}],
}
PLACES = {
    "deployment": lambda deployment: deployment,
    "work_pool": lambda deployment: deployment["work_pool"],
    "concurrency_limit": lambda deployment: deployment.setdefault("concurrency_limit", {"limit": 1}),
    "schedule": lambda deployment: deployment.setdefault("schedules", [{"cron": "* * * * *"}])[0],
}
KEYS = [(place, key) for place, table in keys.MAPPINGS.items() for key in table]


@pytest.fixture
def problems(tmp_path):
    """What schema and parser say of a file."""

    def read(document):
        file = tmp_path / "prefect.yaml"
        file.write_text(yaml.safe_dump(document))
        try:
            load_deployments(file, {})
            told = []
        except SpecError as error:
            told = list(error.problems)
        return [error.message for error in Draft202012Validator(json_schema()).iter_errors(document)], told

    return read


def good():
    return yaml.safe_load(yaml.safe_dump(GOOD))


def test_the_published_file_is_what_the_parsers_table_gives():
    assert (FOLDER / "prefect.schema.json").read_text(encoding="utf-8") == text(), (
        "write it anew: python -m yeedu_deployer.declared.schema > deployer/prefect.schema.json"
    )


def test_the_platforms_own_file_fits_and_names_its_schema():
    file = (FOLDER / "prefect.yaml").read_text(encoding="utf-8")
    assert list(Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(file))) == []
    assert file.startswith("# yaml-language-server: $schema=prefect.schema.json\n")


def test_a_minimal_file_fits_both(problems):
    assert problems(good()) == ([], [])


@pytest.mark.parametrize(("place", "key"), KEYS)
def test_a_misspelt_key_and_a_value_of_a_wrong_kind_are_refused_by_both(problems, place, key):
    misspelt, wrong = good(), good()
    PLACES[place](misspelt["deployments"][0])[f"{key}x"] = "x"
    PLACES[place](wrong["deployments"][0])[key] = [[1]]

    for schema, parser in (problems(misspelt), problems(wrong)):
        assert schema
        assert parser


@pytest.mark.parametrize(
    ("place", "key"), [(place, key) for place, key in KEYS if keys.MAPPINGS[place][key].required]
)
def test_a_missing_key_is_told_by_both(problems, place, key):
    document = good()
    del PLACES[place](document["deployments"][0])[key]
    schema, parser = problems(document)
    assert schema
    assert parser
