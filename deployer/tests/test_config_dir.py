"""CONFIG_DIR: a team's own files and variables; and a prefect.yaml of the flows' repository."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import os
import subprocess
import sys
from pathlib import Path

import pytest
from declared import HEAD, NAMELESS, ONE, POOLS, TWO

from yeedu_deployer.config_dir import Options, declared_files, own_variables
from yeedu_deployer.errors import ConfigurationError
from yeedu_deployer.settings import Configuration

pytestmark = pytest.mark.timeout(300)  # each start of the program imports Prefect
ENVIRONMENTS = """
environments:
  staging: {branch: staging, suffix: -staging}
"""
IMPORTS_ITS_VARIABLE = '''
import os
from prefect import flow

PLACE = os.environ["PLACE"]

@flow(name="three", log_prints=True)
def run(place: str = PLACE):
    """Says where it is."""
    print(f"here is {place}")
'''
THREE = """
  - name: three
    entrypoint: flows/three.py:run
    tags: ["{{ $TEAM }}"]
    work_pool: {name: yeedu-pool}
"""


@pytest.fixture
def folders(tmp_path):
    """The team's folder, and a checkout of the platform with files of its own."""
    config, checkout = tmp_path / "team config", tmp_path / "checkout"
    (checkout / "deployer").mkdir(parents=True)
    config.mkdir()
    (checkout / "deployer" / "prefect.yaml").write_text("name: platform" + NAMELESS + TWO)
    (checkout / "deployer" / "work-pools.yaml").write_text(POOLS)
    (checkout / "deployer" / "alerts.yaml").write_text("automations: []")
    (config / "prefect.yaml").write_text("name: team" + NAMELESS + ONE)
    return config, checkout


def places(folders, **more):
    config, checkout = folders
    return {
        "PREFECT_API_URL": "http://x/api",
        "CONFIG_DIR": str(config),
        "CHECKOUT_DIR": str(checkout),
        **more,
    }


def found(variables, given=None):
    with declared_files(given or Options(), variables, Configuration.from_environment(variables)) as files:
        return files


def test_own_files_go_first_and_those_that_are_missing_are_the_platforms(folders):
    config, checkout = folders
    (checkout / "deployer" / "environments.yaml").write_text("{}")
    files = found(places(folders))
    assert (files.file, files.pools) == (config / "prefect.yaml", checkout / "deployer" / "work-pools.yaml")
    assert (files.alerts, files.environments) == (checkout / "deployer" / "alerts.yaml", None)

    with pytest.raises(
        ConfigurationError, match=r"^CONFIG_DIR has no environments.yaml, so there is no .* 'staging'; copy"
    ):
        found(places(folders), Options(environment="staging"))

    for name in ("work-pools.yaml", "environments.yaml"):
        (config / name).write_text("{}")
    files = found(places(folders))
    assert (files.pools, files.environments) == (config / "work-pools.yaml", config / "environments.yaml")


def test_prefect_file_is_one_of_the_checkout_or_of_the_teams_folder(folders, tmp_path):
    config, checkout = folders
    (checkout / "flows" / "parking").mkdir(parents=True)
    (checkout / "flows" / "parking" / "prefect.yaml").touch()
    (config / "other.yaml").touch()
    assert found(places(folders, PREFECT_FILE="./flows/parking/prefect.yaml")).file == (
        checkout / "flows/parking/prefect.yaml"
    )
    assert found(places(folders, PREFECT_FILE="other.yaml")).file == config / "other.yaml"
    assert found(places(folders, PREFECT_FILE="other.yaml"), Options(file="my.yaml")).file == Path("my.yaml")
    assert found({"PREFECT_API_URL": "http://x/api"}).file == Path("prefect.yaml")


@pytest.mark.parametrize(
    ("prefect_file", "sentence"),
    [
        ("", r"^CONFIG_DIR has no prefect.yaml; write one there, or set PREFECT_FILE, for example to repo:prefect.yaml"),
        ("/far/away.yaml", r"^PREFECT_FILE=/far/away.yaml: there is no such file in CONFIG_DIR, or in .*; set CONFIG_DIR to its folder"),
    ],
)  # fmt: skip
def test_a_missing_prefect_yaml_is_one_sentence(folders, prefect_file, sentence):
    (folders[0] / "prefect.yaml").unlink()
    with pytest.raises(ConfigurationError, match=sentence):
        found(places(folders, PREFECT_FILE=prefect_file))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("PREFECT_LOGGING_LEVEL=DEBUG", "flows.env:3: PREFECT_LOGGING_LEVEL is the platform's; it belongs into .env, or"),
        ("YEEDU_JOB_URL=x", "flows.env:3: YEEDU_JOB_URL is the platform's"),
        ("POSTGRES_PASSWORD=x", "flows.env:3: POSTGRES_PASSWORD is the platform's"),
        ("CONFIG_DIR=x", "flows.env:3: CONFIG_DIR is the platform's"),
        ("PYTHONPATH=x", "flows.env:3: PYTHONPATH is the platform's"),
        ("S3_ACCESS_KEY=canary", "flows.env:3: S3_ACCESS_KEY is a secret by its name"),
        ("api_token=canary", "flows.env:3: api_token is a secret by its name"),
        ("two words", "flows.env, line 3: write NAME=value, or begin a comment with #."),
        ('OPEN="canary', "flows.env, line 3: OPEN: the value begins with"),
    ],
)  # fmt: skip
def test_a_variable_that_does_not_belong_there_is_refused_with_its_line_and_without_its_value(
    folders, line, sentence
):
    (folders[0] / "flows.env").write_text(f"# ours\nTEAM=finance\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"^[^\n]*$") as caught:
        own_variables(places(folders, TEAM="finance"))
    assert sentence in str(caught.value)
    assert "canary" not in str(caught.value)


def test_own_variables_are_as_the_platform_read_them(folders):
    (folders[0] / "flows.env").write_text('TEAM=$NOT_KNOWN_HERE\nTEXT="two\nlines"\nTOKENS_A_DAY=3\nUNSET\n')
    variables = places(folders, TEAM="finance", TEXT="two\nlines", TOKENS_A_DAY="3", OTHER="x")
    assert own_variables(variables) == {"TEAM": "finance", "TEXT": "two\nlines", "TOKENS_A_DAY": "3"}
    assert own_variables({}) == {}


@pytest.fixture
def deployer(platform, folders):
    """The program as both forms of the platform start it."""

    def run(*arguments, **more):
        base = {"PATH": os.environ["PATH"], "HOME": str(platform.folder), "DO_NOT_TRACK": "1"}
        places_of_git = {"FLOWS_GIT_URL": platform.repository.url}
        done = subprocess.run(
            [sys.executable, "-m", "yeedu_deployer", *arguments],
            cwd=platform.folder,
            env=base
            | platform.server.environment
            | places_of_git
            | places(folders)
            | platform.server.environment
            | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert "Traceback" not in done.stderr
        return done

    return run


def test_own_variables_reach_templates_and_the_import_of_a_flow(platform, folders, deployer):
    platform.repository.commit({"flows/three.py": IMPORTS_ITS_VARIABLE})
    (folders[0] / "prefect.yaml").write_text(HEAD + THREE)
    (folders[0] / "flows.env").write_text("TEAM=finance\nPLACE=Lisbon\n")

    applied = deployer(TEAM="finance", PLACE="Lisbon")

    assert (applied.returncode, applied.stderr) == (0, "")
    three = platform.client.read_deployment_by_name("three/three")
    assert three.tags == ["finance"]
    assert three.parameter_openapi_schema["properties"]["place"]["default"] == "Lisbon"
    again = deployer("plan", TEAM="finance", PLACE="Lisbon")
    assert again.returncode == 0, again.stdout


def test_the_repositorys_own_file_is_registered_at_the_ref_that_is_deployed(platform, folders, deployer):
    (folders[0] / "environments.yaml").write_text(ENVIRONMENTS)
    platform.repository.commit({"deploy/prefect.yaml": "name: flows" + NAMELESS + ONE})
    platform.repository.git("checkout", "--quiet", "-b", "staging")
    platform.repository.commit(
        {"deploy/prefect.yaml": "name: flows" + NAMELESS + ONE.replace("[first]", "[later]")}
    )
    platform.repository.git("checkout", "--quiet", "main")

    applied = deployer(PREFECT_FILE="repo:deploy/prefect.yaml")
    staged = deployer("apply", "--environment", "staging", PREFECT_FILE="repo:./deploy/prefect.yaml")
    of_ref = deployer("plan", FLOWS_GIT_REF="staging", PREFECT_FILE="repo:deploy/prefect.yaml")

    assert [run.returncode for run in (applied, staged, of_ref)] == [0, 0, 2], applied.stderr + staged.stderr
    assert platform.client.read_deployment_by_name("one/one").tags == ["first"]
    assert platform.client.read_deployment_by_name("one/one-staging").tags == ["later"]
    assert "later" in of_ref.stdout


def test_what_is_wrong_with_the_repositorys_file_is_said_with_its_name_and_line(platform, deployer):
    platform.repository.commit({"deploy/prefect.yaml": HEAD + ONE.replace("entrypoint", "entrypont")})
    platform.repository.git("rm", "--quiet", "-r", "flows")
    (platform.repository.path / "outside.yaml").symlink_to("/etc/hostname")
    platform.repository.git("add", "--all")
    platform.repository.git("commit", "--quiet", "--message", "Link")

    wrong = deployer("plan", "--file", "repo:deploy/prefect.yaml")
    missing = deployer("plan", PREFECT_FILE="repo:prefect.yaml")
    link = deployer("plan", PREFECT_FILE="repo:outside.yaml")
    no_ref = deployer("plan", PREFECT_FILE="repo:deploy/prefect.yaml", FLOWS_GIT_REF="stagin")

    assert [run.returncode for run in (wrong, missing, link, no_ref)] == [1] * 4
    assert "error: deploy/prefect.yaml:9: deployment 'one': the key 'entrypont' is unknown" in wrong.stderr
    assert missing.stderr == (
        f"error: PREFECT_FILE=repo:prefect.yaml: the git repository {platform.repository.url} has no such file; "
        "did you mean repo:deploy/prefect.yaml?\n"
    )
    assert link.stderr.startswith("error: PREFECT_FILE=repo:outside.yaml is no path in a repository; ")
    assert "has no branch or tag 'stagin'" in no_ref.stderr
