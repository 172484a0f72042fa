"""What the deployer may do otherwise than stock: three tables, and whatever is in none of them is a fault."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.conformance.deploy_servers import MADE_UP_VERSION
from tests.conformance.deploy_verdicts import Design, Tables

GIT_CLONE = "prefect.deployments.steps.git_clone"
SET_WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"
OWN_REPOSITORY = {"repository": "{{ $FLOWS_GIT_URL }}", "branch": "{{ $FLOWS_GIT_REF }}"}
GUESSED_FOLDERS = ({"directory": "<checkout>"}, {"directory": "/opt/prefect"})
VARIABLE = re.compile(r"\{\{ *\$(\w+) *\}\}")


def is_clone_for_directory(stock: Any, ours: Any, _environment: Mapping[str, str]) -> bool:
    """Whether the folder that stock guesses became a clone of the flows' own repository."""
    return (stock is None and ours == OWN_REPOSITORY) or (ours is None and stock in GUESSED_FOLDERS)


def is_number_as_written(stock: Any, ours: Any, _environment: Mapping[str, str]) -> bool:
    """Whether stock's number is ours as its author wrote it."""
    return isinstance(stock, int | float) and isinstance(ours, str) and float(ours) == stock


def is_read_at_run_time(stock: Any, ours: Any, environment: Mapping[str, str]) -> bool:
    """Whether stock's value is ours once the variables of the environment are put in."""
    return isinstance(ours, str) and stock == VARIABLE.sub(lambda found: environment[found[1]], ours)


def is_tag_as_written(stock: Any, ours: Any, _environment: Mapping[str, str]) -> bool:
    """Whether stock's tags are what YAML makes of ours, with one more for an empty item."""
    read = [str(yaml.safe_load(tag)) for tag in ours]
    return ours != stock and read == [tag for tag in stock if tag != "None"]


# Every difference that is meant; all others fail.
BY_DESIGN = (
    Design(
        r"parameters\.mapping\.(1|true)",
        lambda stock, ours, _environment: (stock, ours) in (("two", "one"), (None, "two")),
        "1 and true are two keys in JSON; Python takes them for one, and stock loses what the first one held",
    ),
    Design(
        r"version",
        lambda stock, ours, _environment: stock == MADE_UP_VERSION,
        "a version that the file does not give is the flow's own, or none; stock makes one of the checkout",
    ),
    Design(
        r"parameter_openapi_schema\.definitions",
        lambda stock, ours, _environment: stock is None and ours == {},
        "a schema without definitions is the same schema",
    ),
    Design(
        r"parameter_openapi_schema\.properties\.\w+\.default",
        lambda stock, ours, _environment: stock is None,
        "a flow is imported with the variables of its runs, so that a default made of one is known",
    ),
    Design(
        rf"pull_steps\[0\]\.({re.escape(GIT_CLONE)}|{re.escape(SET_WORKING_DIRECTORY)})",
        is_clone_for_directory,
        "without 'pull' stock guesses a folder: the deploying machine's checkout, where no worker of the "
        "platform is, or /opt/prefect of an image; here it is the platform's own repository of flows",
    ),
    Design(
        r"pull_steps\[\d+\]\..*",
        is_read_at_run_time,
        "a worker reads the variables of pull steps when a run starts: its address of the repository may be "
        "another, and a token does not become part of the deployment",
    ),
    Design(
        r"pull_steps\[\d+\]\..*\.branch",
        is_number_as_written,
        "a branch is called as it was written; stock makes 1.1 of 1.10, and every run fails",
    ),
    Design(
        r"schedules\[\d+\]\.slug",
        lambda stock, ours, _environment: stock is None and str(ours).startswith("schedule-"),
        "a schedule without a slug is named by its position, so that it is found again when the file changes",
    ),
    Design(
        r"schedules\[\d+\]\.schedule\.timezone",
        lambda stock, ours, _environment: stock is None and ours == "UTC",
        "a schedule without a timezone is in UTC, and says so",
    ),
    Design(
        r"tags",
        is_tag_as_written,
        "a tag is called as it was written, and an empty item is none; stock makes True of yes",
    ),
    Design(
        r"tags",
        lambda stock, ours, _environment: len(ours) == 1 and stock == list(dict.fromkeys(ours[0])),
        "a text under 'tags' is one tag; stock makes a tag of each letter",
    ),
)
# Of what stock registers, the deployer may refuse these: by case and name, what its sentence must hold.
REFUSED: dict[str, dict[str, str]] = {
    # A key that stock passes over in silence is most often a mistake.
    "a_key_misspelt": {"km-parameter": "parametres"},
    "other_keys": {"ok-working-dir": "'"},
    "other_keys_of_the_file": {"of-plain": "'"},
    "keys_twice": {"kt-twice": "parameters"},
    "declared_twice": {"twice": "twice"},
    # Stock puts nothing in the place of what it does not know.
    "parameters_from_server": {"pv-unknown-variable": "pv_nobody_made_this"},
    "variable_not_set": {"vn-parameter": "VN_NOBODY_SETS_THIS"},
    "other_braces": {"ob-unknown-words": "yesterday", "ob-inside-text": "yesterday"},
    # No run could succeed.
    "pull_steps_that_cannot_be": {
        "px-old-name": "prefect.projects.steps.set_working_directory",
        "px-short-name": "git_clone",
        "px-wrong-id": "clone-step",
        "px-block-as-token": "access_token",
        "px-unknown-input": "brunch",
    },
    "pull_of_an_older_prefect": {"pj-older": "git_clone_project"},
    "repository_that_is_not_there": {"rn-missing": "nobody-made-this"},
    "number_as_branch": {"nb-number": "1.1"},
    "pull_of_a_commit": {"pc-both": "commit_sha"},
    "schedule_parameters_wrong": {"sp-unknown": "shop"},
    "parameters_that_do_not_fit": {"pf-unknown": "shop", "pf-missing": "title"},
    "flow_name_given": {"fn-other": "flow_name"},
    "entrypoints_that_are_not": {"en-raises": "raises.py"},
    "triggers_that_cannot_be": {"tx-key": "expects"},
    # Flow code comes from git; images are built elsewhere, and nothing is run where files are applied.
    "build_that_asks_git": {"bg-versioned": "build", "bg-own": "build"},
    "pull_with_pip": {"pp-pip": "pip_install_requirements"},
    "pull_from_a_bucket": {"pi-bucket": "pull"},
    "pull_with_a_script": {"ps-script": "where.stdout"},
    # What the platform has not.
    "schedule_replaces": {"sr-renamed": "replaces"},
    "job_variables_that_do_not_fit": {"jw-unknown": "memory"},
    "versions": {"vs-typed": "version_type"},
    "entrypoint_spellings": {"es-up": "entrypoint"},
}
# Of what stock refuses, the deployer may register these, with such fields.
BEYOND: dict[str, dict[str, dict[str, Any]]] = {
    "numbers_as_names": {
        "7": {"name": "007"},
        "nn-version": {"version": "1.10"},
        "nn-month": {"version": "2024_01"},
        "nn-queue": {"work_queue_name": "1"},
    },
    "descriptions": {"ds-number": {"description": "5"}},
    "tags": {"tg-null": {"tags": []}},
    "interval_anchor_as_date": {"ia-date": {}},
    "job_variables_that_do_not_fit": {"jw-null": {"job_variables": {}}},
    "parameters_that_do_not_fit": {"pf-null": {"parameters": {}}},
    "concurrency_that_cannot_be": {"cx-only-limit": {}},
    "name_of_the_file_as_number": {"nf-number": {}},
    "version_of_prefect_as_number": {"vq-number": {}},
    # An empty list says that nothing is to be there; what the file declared before is pruned.
    "no_deployments": {"None": {}},
    # A template can stand for a switch as well.
    "switches": {"sw-template": {"paused": True}},
    # A name is called as it was written.
    "words_that_yaml_takes_for_others": {"False": {"name": "no"}, "wy-slug": {}},
    "schedules_of_nothing": {"sn-mapping": {"schedules": []}},
}
TABLES = Tables(BY_DESIGN, REFUSED, BEYOND)
