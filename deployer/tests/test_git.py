"""Repositories as teams have them, applied: real hosts, a real server, a sentence for each way to fail."""

import os
from pathlib import Path

import pytest
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.variables import Variable
from pydantic import SecretStr

from tests.git_hosts import ACCEPTS, TOKEN, git_host, ssh_host
from yeedu_deployer.declared.flow_source import Source
from yeedu_deployer.errors import SourceError
from yeedu_deployer.planned.sources import remote_of
from yeedu_worker.git.reasons import GitError

FLOW = """
from prefect import flow

@flow(name="{name}")
def run(): ...
"""
STEP = "prefect.deployments.steps.git_clone"
YAML = """
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
deployments:
  - {name: one, entrypoint: "flows/one.py:run", work_pool: {name: yeedu-pool}}
"""


def yaml(*inputs):
    return YAML.replace("deployments:", "".join(f"      {line}\n" for line in inputs) + "deployments:")


@pytest.fixture
def host(repository, certificate, monkeypatch):
    """What serves the repository, to everybody at first; its certificate is trusted."""
    repository.add_flows("served")
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    with git_host(certificate, repository.path.parent) as running:
        running.url = f"{running.url}/{repository.path.name}"
        yield running


def step_of(platform):
    return platform.client.read_deployment_by_name("one/one").pull_steps[-1][STEP]


def failure(url, credential=(), revision="", token=None):
    with pytest.raises((SourceError, GitError)) as caught:
        remote_of(Source(url, revision, credential), lambda *_: TOKEN, token).accepted(revision)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "file:///no/such/repository",
            "is not a git repository, or the credential may not see it; check its address and the login.",
        ),
        ("http://127.0.0.1:9/x.git", "cannot be reached: nothing answers there; check FLOWS_GIT_URL."),
        (
            "http://host.invalid/x.git",
            "cannot be reached: its host name does not resolve; check FLOWS_GIT_URL.",
        ),
    ],
)
def test_an_unreachable_repository_gets_one_sentence(url, reason):
    assert failure(url) == f"The git repository {url} {reason}"


def test_an_empty_repository_an_empty_url_and_an_option_are_refused(repository):
    assert "has no commit on its default branch" in failure(repository.url)
    assert failure("") == "The git repository's URL is empty; set FLOWS_GIT_URL to a URL or a folder."
    assert "begins with a dash" in failure("--upload-pack=touch /tmp/x")


def test_a_wrong_branch_is_named_with_the_nearest_one(repository):
    repository.add_flows("one")
    assert failure(repository.url, revision="mian") == (
        f"The git repository {repository.url} has no branch or tag 'mian'; did you mean 'main'?"
    )
    assert failure(repository.url, revision="zzz") == (
        f"The git repository {repository.url} has no branch or tag 'zzz'; it has main."
    )


def test_an_untrusted_certificate_and_a_token_in_the_open_get_one_sentence_each(host, monkeypatch):
    monkeypatch.delenv("GIT_SSL_CAINFO")
    assert failure(host.url) == (
        f"The git repository {host.url} has a TLS certificate that is not trusted; "
        "name its CA's file in CA_CERT_FILE (or GIT_SSL_CAINFO)."
    )
    token = (("access_token", TOKEN),)
    assert "Prefect sends tokens over https only" in failure("http://127.0.0.1:9/x.git", token)


def test_an_ssh_address_without_its_host_or_key_names_the_settings(tmp_path, monkeypatch):
    with ssh_host(tmp_path) as host:
        (tmp_path / "nobody").touch()
        options = f"-F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -i {tmp_path / 'nobody'}"
        for known, said in (
            (tmp_path / "nobody", "has an unknown host key"),
            (host.known_hosts, "refused the SSH key"),
        ):
            monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh {options} -o UserKnownHostsFile={known}")
            url = f"{host.address}/srv/flows.git"
            assert failure(url) == (
                f"The git repository {url} {said}; name a key in FLOWS_GIT_SSH_KEY_FILE, "
                "and the host's keys in FLOWS_GIT_KNOWN_HOSTS_FILE."
            )


LOOKS_FOR_THE_TOKEN = """
import os
from pathlib import Path
from prefect import flow

files = [file for file in Path().rglob("*") if file.is_file()]
found = [str(file) for file in files if {token!r}.encode()[::-1] in file.read_bytes()]
found += [name for name, value in os.environ.items() if {token!r}[::-1] in value]

@flow(name="one", description=f"{{len(files) > 20}} {{found}}")
def run(): ...
"""


def test_flow_code_finds_the_token_neither_in_its_clone_nor_in_its_environment(platform, host):
    platform.repository.commit({"flows/one.py": LOOKS_FOR_THE_TOKEN.format(token=TOKEN[::-1])})
    host.accepts = ACCEPTS["Gitea"]
    token = {"FLOWS_GIT_URL": host.url, "FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", TOKEN))}
    assert platform.apply(YAML, environment=token).failures == []
    assert platform.client.read_deployment_by_name("one/one").description == "True []"


@pytest.mark.parametrize("kind", ["GitLab", "Bitbucket", "Gitea"])
def test_a_token_alone_is_registered_in_the_form_that_its_host_takes(platform, host, kind):
    host.accepts = ACCEPTS[kind]
    token = {"FLOWS_GIT_URL": host.url, "FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", TOKEN))}
    assert platform.apply(YAML, environment=token).failures == []
    placeholder = "{{ prefect.blocks.secret.github-pat-token }}"
    user = {"GitLab": "oauth2", "Bitbucket": "x-token-auth"}.get(kind)
    given = (
        {"credentials": {"username": user, "access_token": placeholder}}
        if user
        else {"access_token": placeholder}
    )
    assert step_of(platform) == {"repository": "{{ $FLOWS_GIT_URL }}", **given}
    again = platform.apply(YAML, environment=token)
    assert platform.outcomes(again) == {"one": "unchanged"}


@pytest.mark.long
def test_prefects_own_worker_clones_in_the_form_that_the_host_takes(platform, host):
    host.accepts = ACCEPTS["GitLab"]
    token = {"FLOWS_GIT_URL": host.url, "FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", TOKEN))}
    assert platform.apply(YAML, environment=token).failures == []
    deployment = platform.client.read_deployment_by_name("one/one").id
    run = platform.client.create_flow_run_from_deployment(deployment).id
    output = platform.work_once(FLOWS_GIT_URL=host.url, GIT_SSL_CAINFO=os.environ["GIT_SSL_CAINFO"])
    assert platform.client.read_flow_run(run).state.is_completed(), output
    assert TOKEN not in output


class GitLabLike(Block):
    _block_type_slug = "gitlab-credentials"
    _block_type_name = "GitLab Credentials"
    token: SecretStr


def test_a_credential_can_be_in_any_place_that_prefect_reads(platform, host):
    host.accepts = ACCEPTS["GitLab"]
    GitLabLike(token=TOKEN).save("mine", overwrite=True)
    Secret(value={"git": {"token": f"oauth2:{TOKEN}"}}).save("nested", overwrite=True)
    Variable.set("git_token", TOKEN, overwrite=True)
    variables = {"FLOWS_GIT_URL": host.url, "GIT_TOKEN": TOKEN}
    for line in (
        'credentials: "{{ prefect.blocks.gitlab-credentials.mine }}"',
        'access_token: "{{ prefect.blocks.gitlab-credentials.mine.token }}"',
        'access_token: "{{ prefect.blocks.secret.nested.git.token }}"',
        'access_token: "{{ prefect.variables.git_token }}"',
        'access_token: "oauth2:{{ prefect.variables.git_token }}"',
        'access_token: "{{ $GIT_TOKEN }}"',
    ):
        applied = platform.apply(yaml(line), environment=variables)
        assert applied.failures == [], line
        key, _, text = line.partition(": ")
        assert step_of(platform)[key] == text.strip('"'), "registered as it is written"
    own = 'credentials: {username: oauth2, access_token: "{{ prefect.variables.git_token }}"}'
    assert platform.apply(yaml(own), environment=variables).failures == []
    for line, said in (
        ('access_token: "{{ prefect.variables.none }}"', "the server has no variable 'none'; create it"),
        (
            'access_token: "{{ prefect.blocks.secret.nested.no }}"',
            "'nested' of the type 'secret' has no 'no'; name a part",
        ),
    ):
        (said_so,) = platform.apply(yaml(line), environment=variables).failures
        assert said in said_so
        assert TOKEN not in said_so
    of_step = yaml('access_token: "{{ vault.token }}"').replace(
        "pull:", "pull:\n  - acme.read_vault: {id: vault}"
    )
    (said_so,) = platform.apply(of_step, environment=variables).failures
    assert "the step takes it from {{ vault.token }}, which another step gives" in said_so
    own = {**variables, "FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", f"oauth2:{TOKEN}"))}
    assert platform.apply(of_step, environment=own).failures == []
    assert step_of(platform)["access_token"] == "{{ vault.token }}"


def test_flows_in_the_last_clone_with_submodules_and_lfs_are_registered(platform, host, repository):
    other = Path(f"{repository.path}-common")
    other.mkdir()
    type(repository)(other).commit({"shared.py": "x = 1\n"})
    at = type(repository)(other).git("rev-parse", "HEAD")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064d}\nsize 1024\n"
    repository.commit(
        {
            ".gitmodules": f'[submodule "c"]\n\tpath = src/common\n\turl = ../{other.name}\n',
            ".gitattributes": "*.csv filter=lfs diff=lfs merge=lfs -text\n",
            "src/prices.csv": pointer,
            "src/load.py": f"from common.shared import x\n{FLOW.format(name='loading')}",
        }
    )
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{at},src/common")
    repository.git("commit", "--quiet", "--message", "Module")
    text = f"""
    pull:
      - prefect.deployments.steps.git_clone:
          repository: {host.url}-common
      - prefect.deployments.steps.git_clone:
          repository: "{{{{ $FLOWS_GIT_URL }}}}"
          include_submodules: true
          id: code
      - prefect.deployments.steps.set_working_directory:
          directory: "{{{{ code.directory }}}}/src"
    deployments:
      - {{name: one, entrypoint: "load.py:run", work_pool: {{name: yeedu-pool}}}}
    """
    applied = platform.apply(text, environment={"FLOWS_GIT_URL": host.url})
    assert applied.failures == []
    (note,) = [row for row in applied.rows if row.kind == "source"]
    assert (note.name, "pointers of git LFS" in note.detail, "src/prices.csv" in note.detail) == (
        host.url,
        True,
        True,
    )
    nowhere = text.replace("/src", "/nowhere")
    assert platform.apply(nowhere, environment={"FLOWS_GIT_URL": host.url}).failures == [
        f"{platform.folder / 'prefect.yaml'}:3: deployment 'one': the pull steps leave the flow in "
        f"'nowhere' of {host.url}, which has no such folder; write one that it has."
    ]


def test_a_revision_and_an_address_can_be_prefect_variables(platform, host, repository):
    repository.git("checkout", "--quiet", "-b", "main-2")
    repository.commit({"flows/one.py": FLOW.format(name="of-main-2")})
    repository.git("checkout", "--quiet", "-")
    Variable.set("flows_branch", "main-2", overwrite=True)
    Variable.set("flows_url", host.url, overwrite=True)
    text = YAML.replace("{{ $FLOWS_GIT_URL }}", "{{ prefect.variables.flows_url }}")
    branch = '      branch: "{{ prefect.variables.flows_branch }}"\n'
    text = text.replace("deployments:", f"{branch}deployments:", 1)

    assert platform.apply(text, environment={}).failures == []
    (step,) = platform.client.read_deployment_by_name("of-main-2/one").pull_steps
    assert step[STEP]["branch"] == "{{ prefect.variables.flows_branch }}"

    (said,) = platform.apply(text.replace("flows_branch", "no_branch"), environment={}).failures
    assert "the server has no variable 'no_branch'; create it" in said
