"""Where the flow's code is after the pull steps, which of them get the token, and what is pinned."""

import subprocess
import sys
from pathlib import Path

import pytest

from yeedu_deployer.declared.flow_source import at_revision, source_of, with_commits, with_token
from yeedu_deployer.declared.steps import GIT_CLONE, SET_WORKING_DIRECTORY, PullStep
from yeedu_deployer.errors import SourceError
from yeedu_worker.git.remote import Wanted

COMMIT = "a" * 40
VARIABLES = {"FLOWS_GIT_URL": "https://git.example.com/team/flows.git", "FLOWS_GIT_REF": "release/1"}


def clone(repository="{{ $FLOWS_GIT_URL }}", **inputs):
    return PullStep(GIT_CLONE, {"repository": repository, **inputs})


def go_to(directory):
    return PullStep(SET_WORKING_DIRECTORY, {"directory": directory})


def shell(**inputs):
    return PullStep("prefect.deployments.steps.run_shell_script", {"script": "true", **inputs})


MODELS = "https://git.example.com/team/models.git"
# Name -> steps, the repository, the directory inside of its clone; engine and deployer agree on each.
PLACES = {
    "one": ([clone()], "flows", ""),
    "last of two": ([clone(MODELS), clone()], "flows", ""),
    "first of two, gone back to": ([clone(id="f"), clone(MODELS), go_to("{{ f.directory }}")], "flows", ""),
    "last output": ([clone(MODELS), clone(), go_to("{{ directory }}/src")], "flows", "src"),
    "by its name": ([clone(branch="main"), go_to("flows-main/a/../b")], "flows", "b"),
    "by a branch with a slash": (
        [clone(branch="{{ $FLOWS_GIT_REF }}"), go_to("flows-release-1")],
        "flows",
        "",
    ),
    "by a name of its own": ([clone(clone_directory_name="x"), go_to("x/y")], "flows", "y"),
    "step by step": ([clone(), go_to("flows"), go_to("a"), go_to("b")], "flows", "a/b"),
    "one in the other": ([clone(), go_to("flows/vendor"), clone(MODELS)], "models", ""),
    "beside the other": ([clone(), go_to("flows"), clone(MODELS), go_to("../flows")], "flows", ""),
    "with a script between": ([clone(), shell(id="s"), go_to("flows/a"), shell()], "flows", "a"),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_flow_is_where_the_steps_leave_it(name):
    steps, repository, directory = PLACES[name]
    source, found = source_of(tuple(steps), VARIABLES)
    assert (source.url.rpartition("/")[2], found) == (f"{repository}.git", directory)


ENGINE = """
import asyncio, json, os, sys
from prefect.deployments.steps import core
from prefect.runner.storage import GitRepository

async def clone(self):
    self.destination.mkdir(parents=True)
    for folder in ("src", "a/b", "b", "y", "vendor"):
        (self.destination / folder).mkdir(parents=True)
    (self.destination / "of").write_text(self._url)

GitRepository._clone_repo = clone
for name, steps in json.load(sys.stdin).items():
    os.makedirs(name)
    os.chdir(name)
    output = asyncio.run(core.run_steps(steps, print_function=lambda *a, **k: None))
    os.chdir(output["directory"])
    here = os.getcwd()
    up = here
    while not os.path.exists(os.path.join(up, "of")):
        up = os.path.dirname(up)
    print(json.dumps([name, open(os.path.join(up, "of")).read(), os.path.relpath(here, up)]))
    os.chdir(sys.argv[1])
"""


def test_prefects_own_engine_ends_in_the_same_places(tmp_path, monkeypatch):
    import json
    import os

    steps = {name: [step.as_prefect() for step in steps] for name, (steps, _, _) in PLACES.items()}
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, str(tmp_path)],
        cwd=tmp_path,
        env={
            **os.environ,
            **VARIABLES,
            "PREFECT_HOME": str(tmp_path / "home"),
            "PREFECT_API_URL": "http://x",
        },
        input=json.dumps(steps),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ended = {name: (url, place) for name, url, place in map(json.loads, done.stdout.splitlines())}
    assert ended.keys() == PLACES.keys()
    for name, (url, place) in ended.items():
        source, directory = source_of(tuple(PLACES[name][0]), VARIABLES)
        assert (source.url, str(Path(directory))) == (url, place), name


def test_what_is_cloned_is_as_the_step_says():
    step = clone(branch="main", directories=["flows", "lib"], include_submodules=True)
    source, _ = source_of((step,), VARIABLES)
    assert (source.revision, source.wanted) == ("main", Wanted(("flows", "lib"), True))
    assert source_of((clone(commit_sha=COMMIT),), VARIABLES)[0].revision == COMMIT


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            [clone(), go_to("/opt/flows")],
            "The pull steps leave the flow in '/opt/flows', which no git_clone step makes: it would be in "
            "flows;",
        ),
        (
            [clone(branch="main"), go_to("flows")],
            "in 'flows', which no git_clone step makes: it would be in flows-main",
        ),
        (
            [PullStep("acme_vault.read", {"id": "vault"}), clone("{{ vault.url }}")],
            "git_clone takes its repository from {{ vault.url }}, an output of the step acme_vault.read, and "
            "the deployer runs no step;",
        ),
        (
            [shell(id="s"), clone(), go_to("{{ s.stdout }}")],
            "an output of the step prefect.deployments.steps.run",
        ),
        ([clone("https://[bad/x.git")], "The git URL 'https://[bad/x.git' cannot be read"),
    ],
)
def test_a_place_that_cannot_be_told_is_one_sentence(steps, sentence):
    with pytest.raises(SourceError) as error:
        source_of(tuple(steps), VARIABLES)
    assert sentence in str(error.value)
    assert at_revision(tuple(steps), "staging", VARIABLES) == tuple(steps)


def test_a_revision_goes_to_the_flows_own_repository():
    steps = (clone(MODELS, branch="main"), clone(branch="main"), clone("https://git.example.com/x.git"))
    pinned = at_revision((*steps, go_to("flows-main")), COMMIT, VARIABLES)
    assert pinned[0] == steps[0]
    assert pinned[1].inputs == {"repository": "{{ $FLOWS_GIT_URL }}", "commit_sha": COMMIT}
    assert pinned[2:] == (steps[2], go_to("flows-main"))
    named = with_commits((clone(branch="{{ $REF }}"), clone(branch="main")), {**VARIABLES, "REF": COMMIT})
    assert [step.inputs.get("commit_sha") for step in named] == [COMMIT, None]


def test_the_token_goes_to_steps_of_its_own_host_alone():
    steps = (
        clone(),
        clone(MODELS, access_token="mine"),
        clone("https://github.com/acme/open.git"),
        clone("https://git.example.com.evil.example/x.git"),
        clone("https://git.example.com:8443/x.git"),
        clone("git@git.example.com:team/x.git"),
        clone("https://[bad/x.git"),
    )
    given = with_token(steps, "github-pat-token", "git.example.com", VARIABLES)
    token = "{{ prefect.blocks.secret.github-pat-token }}"
    assert given[0].inputs["access_token"] == token
    assert given[1:] == steps[1:]
    named = with_token(steps[:1], "github-pat-token", "git.example.com", VARIABLES, "oauth2")
    assert named[0].inputs["credentials"] == {"username": "oauth2", "access_token": token}
