"""The JSON schema for editors and the page of keys: made of the models that read the file."""

from pathlib import Path

import pytest
import yaml
from declared import load_deployments
from jsonschema import Draft202012Validator

from yeedu_deployer.declared.models import Concurrency, Deployment, WorkPool
from yeedu_deployer.declared.schedules import Schedule
from yeedu_deployer.declared.schema import json_schema, tables, text
from yeedu_deployer.errors import SpecError

FOLDER = Path(__file__).parents[1]
PAGE = FOLDER.parent / "docs/prefect-yaml.md"
GOOD = {
    "name": "project",
    "pull": [{"prefect.deployments.steps.git_clone": {"repository": "x"}}],
    "deployments": [{"name": "one", "entrypoint": "a.py:b", "work_pool": {"name": "pool"}}],
}
PLACES = {
    Deployment: lambda deployment: deployment,
    WorkPool: lambda deployment: deployment["work_pool"],
    Concurrency: lambda deployment: deployment.setdefault("concurrency_limit", {"limit": 1}),
    Schedule: lambda deployment: deployment.setdefault("schedules", [{"cron": "* * * * *"}])[0],
}
KEYS = [(model, key) for model in PLACES for key in model.model_fields]


@pytest.fixture
def problems(tmp_path):
    """What schema and models say of a file."""

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


def test_the_published_file_is_what_the_models_give():
    assert (FOLDER / "prefect.schema.json").read_text(encoding="utf-8") == text(), (
        "write it anew: python -m yeedu_deployer.declared.schema > deployer/prefect.schema.json"
    )


def test_the_page_of_keys_is_what_the_models_give():
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("## Every key\n\n")
    assert rest == tables(), "write it anew: python -m yeedu_deployer.declared.schema --keys"


def test_every_key_has_a_meaning():
    assert all(model.model_fields[key].description for model, key in KEYS)


def test_the_platforms_own_file_fits_and_names_its_schema():
    file = (FOLDER / "prefect.yaml").read_text(encoding="utf-8")
    assert list(Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(file))) == []
    assert file.startswith("# yaml-language-server: $schema=prefect.schema.json\n")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"x-owner": "team"},
        {"concurrency_limit": 3, "paused": True, "tags": "one", "version": 1.1},
        {"concurrency_limit": {"limit": 2, "collision_strategy": "CANCEL_NEW"}, "tags": ["a"]},
        {"schedule": {"interval": 60.5, "timezone": "Europe/Vienna"}, "build": None, "push": []},
        {"triggers": [{"expect": ["a"], "parameters": {"x": "{{ event.id }}"}}], "parameters": None},
        {"work_pool": {"name": "pool", "x-why": 1, "job_variables": {"env": {}}, "work_queue_name": None}},
    ],
)
def test_what_is_right_fits_both(problems, more):
    document = good()
    document["deployments"][0] |= more
    assert problems(document) == ([], [])


@pytest.mark.parametrize(("model", "key"), KEYS)
def test_a_misspelt_key_and_a_value_of_a_wrong_kind_are_refused_by_both(problems, model, key):
    misspelt, wrong = good(), good()
    PLACES[model](misspelt["deployments"][0])[f"{key}x"] = "x"
    PLACES[model](wrong["deployments"][0])[key] = [[1]]

    for schema, models in (problems(misspelt), problems(wrong)):
        assert schema
        assert models


@pytest.mark.parametrize(
    ("model", "key"), [(model, key) for model, key in KEYS if model.model_fields[key].is_required()]
)
def test_a_missing_key_is_told_by_both(problems, model, key):
    document = good()
    del PLACES[model](document["deployments"][0])[key]
    schema, models = problems(document)
    assert schema
    assert models
