"""Pull steps are checked when they are read: what would fail in every run is refused, with its line."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import textwrap

import pytest

from yeedu_deployer.declared.prefect_yaml import load_file

ENTRY = "deployments: [{name: one, entrypoint: a.py:b, work_pool: {name: pool}}]\n"
CLONE = """\
pull:
  - prefect.deployments.steps.git_clone:
      repository: https://git.example.com/flows.git
      id: code
"""


@pytest.fixture
def load(tmp_path):
    def read(pull):
        file = tmp_path / "prefect.yaml"
        file.write_text(textwrap.dedent(pull) + ENTRY, encoding="utf-8")
        found = load_file(file, {})
        told = [one.removeprefix(f"{file}:") for error in found.errors.values() for one in error.problems]
        return (found.deployments[0] if found.deployments else None), told

    return read


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("prefect.projects.steps.set_working_directory: {directory: x}", "5: the file: Prefect has no pull step 'prefect.projects.steps.set_working_directory'; write 'prefect.deployments.steps.set_working_directory'."),
        ("prefect.deployments.steps.git_clon: {repository: x}", "5: the file: Prefect has no pull step 'prefect.deployments.steps.git_clon'; did you mean 'prefect.deployments.steps.git_clone'?"),
        ("prefect.deployments.steps: {}", "5: the file: Prefect has no pull step 'prefect.deployments.steps'; did you mean 'prefect.deployments.steps.git_clone'?"),
        ("set_working_directory: {directory: x}", "5: the file: the pull step 'set_working_directory' is not a function's full name; write 'prefect.deployments.steps.set_working_directory'."),
        ("fetch: {}", "5: the file: the pull step 'fetch' is not a function's full name; write PACKAGE.MODULE.FUNCTION."),
        ("prefect.deployments.steps.set_working_directory: {directory: '{{ clone.directory }}'}", "5: the file: no step before this one has the id 'clone'; did you mean 'code'?"),
        ("prefect.deployments.steps.set_working_directory: {directory: 'x/{{ other.directory }}'}", "5: the file: no step before this one has the id 'other'; there are code."),
        ("prefect.deployments.steps.set_working_directory: {directory: '{{ code.folder }}'}", "5: the file: the step 'code' gives no 'folder'; there are directory."),
        ("prefect.deployments.steps.set_working_directory: {directory: '{{ later.directory }}', id: later}", "5: the file: no step before this one has the id 'later'; there are code."),
        ("prefect.deployments.steps.set_working_directory: {directry: x}", "5: the file: set_working_directory: the key 'directry' is unknown; did you mean 'directory'?"),
        ("prefect.deployments.steps.set_working_directory: {}", "5: the file: set_working_directory: 'directory' is missing; add it."),
        ("prefect.deployments.steps.run_shell_script: {script: [a]}", "5: the file: run_shell_script: 'script' must be a text, but it is a list."),
        ("prefect.deployments.steps.run_shell_script: text", "5: the file: the pull step 'prefect.deployments.steps.run_shell_script' needs its inputs below it, but it is 'text'."),
        ("prefect.deployments.steps.pull_with_block: {block_document_name: a}", "5: the file: pull_with_block: 'block_type_slug' is missing; add it."),
        ("{a.b: {}, c.d: {}}", "5: the file: a pull step must be one function name with its inputs below it."),
        ("text", "5: the file: a pull step must be one function name with its inputs below it."),
        ("prefect.deployments.steps.git_clone: {repository: x, branch: a, commit_sha: b}", "5: the file: git_clone: takes 'branch' or 'commit_sha', and has both; leave one."),
        ("prefect.deployments.steps.git_clone: {repository: x, access_token: a, credentials: '{{ prefect.blocks.gitlab-credentials.acme }}'}", "5: the file: git_clone: takes 'access_token' or 'credentials', and has both; leave one."),
        ("prefect.deployments.steps.git_clone: {repository: x, access_token: '{{ prefect.blocks.gitlab-credentials.acme }}'}", "5: the file: git_clone: 'access_token' takes a text, and the block 'gitlab-credentials/acme' is more than that; write it under 'credentials', or name a part of it: {{ prefect.blocks.gitlab-credentials.acme.PART }}."),
        ("prefect.deployments.steps.git_clone: {repository: x, credentials: '{{ prefect.blocks.secret.acme }}'}", "5: the file: git_clone: 'credentials' takes a block of credentials; a token goes under 'access_token'."),
    ],
)  # fmt: skip
def test_a_step_that_would_fail_in_every_run_is_refused(load, step, problem):
    _, told = load(f"{CLONE}  - {step}\n")
    assert told == [problem]


@pytest.mark.parametrize(
    "step",
    [
        "prefect.deployments.steps.set_working_directory: {directory: '{{ code.directory }}/flows'}",
        "prefect.deployments.steps.set_working_directory: {directory: '{{ directory }}'}",
        "prefect.deployments.steps.pull.set_working_directory: {directory: '{{ $HOME }}'}",
        "prefect.deployments.steps.run_shell_script: {script: 'echo {{ prefect.variables.x }}', shell: true, requires: x}",
        "prefect.deployments.steps.pull_from_remote_storage: {url: 's3://x', anything: [1]}",
        "prefect.deployments.steps.git_clone: {repository: x, access_token: '{{ prefect.blocks.secret.a }}'}",
        "prefect.deployments.steps.git_clone: {repository: x, access_token: '{{ prefect.blocks.github-credentials.a.token }}'}",
        "prefect.deployments.steps.git_clone: {repository: x, credentials: '{{ prefect.blocks.github-credentials.a }}'}",
    ],
)  # fmt: skip
def test_a_step_that_prefect_has_is_taken(load, step):
    spec, told = load(f"{CLONE}  - {step}\n")
    assert told == []
    assert len(spec.pull) == 2


def test_a_step_of_another_package_is_taken_with_a_note_and_may_give_anything(load):
    spec, told = load(
        CLONE
        + """\
  - prefect_aws.deployments.steps.pull_from_s3: {bucket: b, folder: 010, id: aws}
  - prefect.deployments.steps.set_working_directory: {directory: '{{ aws.directory }}/{{ folder }}'}
"""
    )
    assert told == []
    assert spec.notes == (
        "the file: the pull step 'prefect_aws.deployments.steps.pull_from_s3' is not checked; its workers must "
        "have the package 'prefect_aws'.",
    )
    assert [(step.line, step.as_prefect()) for step in spec.pull[1:]] == [
        (5, {"prefect_aws.deployments.steps.pull_from_s3": {"bucket": "b", "folder": 8, "id": "aws"}}),
        (
            6,
            {
                "prefect.deployments.steps.set_working_directory": {
                    "directory": "{{ aws.directory }}/{{ folder }}"
                }
            },
        ),
    ]


def test_a_texts_spelling_stays_where_the_function_takes_a_text(load):
    spec, told = load(
        """\
        pull:
          prefect.deployments.steps.git_clone: {repository: x, commit_sha: 0123456, clone_directory_name: 1.10, id: 007}
        """
    )
    assert told == []
    assert spec.pull[0].inputs == {
        "repository": "x",
        "commit_sha": "0123456",
        "clone_directory_name": "1.10",
        "id": "007",
    }
