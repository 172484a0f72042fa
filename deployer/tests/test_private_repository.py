"""A private repository, served by git-server to those who have the token, over TLS as Prefect wants it."""

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest
from prefect import flow
from prefect.blocks.system import Secret
from prefect.runner.storage import GitRepository
from prefect_github import GitHubCredentials

from tests.tls_server import tls_proxy

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
TOKEN = "canary-of-the-git-token"
YAML = """
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
deployments:
  - {name: one, entrypoint: "flows/one.py:run", work_pool: {name: yeedu-pool}}
"""


def docker(*arguments):
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def image():
    tag = f"git-server-test-{uuid.uuid4().hex[:12]}"
    docker("build", "--quiet", f"--tag={tag}", f"--file={ROOT / 'git-server' / 'Dockerfile'}", str(ROOT))
    yield tag
    docker("image", "rm", "--force", tag)


class PrivateRepository:
    """The repository behind git-server; `login` is the one that it takes at the moment."""

    def __init__(self, platform, image):
        self.folder = platform.folder / "login"
        self.folder.mkdir()
        self.login = TOKEN
        mounts = [
            f"--volume={platform.repository.path}:/checkout:ro",
            f"--volume={self.folder}:/run/platform/api:ro",
        ]
        user = f"--user={os.getuid()}:{os.getgid()}"
        self.container = docker("run", "--detach", "--publish=127.0.0.1:0:8080", user, *mounts, image)
        self.port = int(docker("port", self.container, "8080/tcp").rpartition(":")[2])

    @property
    def login(self):
        return (self.folder / "auth-string").read_text()

    @login.setter
    def login(self, token):
        (self.folder / "auth-string").write_text(f"{token}:\n")

    def is_healthy(self):
        check = ["docker", "exec", self.container, "/opt/git-server/healthcheck"]
        return not subprocess.run(check, capture_output=True, check=False).returncode

    def log(self):
        return docker("logs", self.container)

    def remove(self):
        docker("rm", "--force", "--volumes", self.container)


@pytest.fixture
def private(platform, image, certificate, eventually, monkeypatch):
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    repository = PrivateRepository(platform, image)
    try:
        eventually(repository.is_healthy, "git-server", 180)
        with tls_proxy(certificate, repository.port) as port:
            repository.url = f"https://127.0.0.1:{port}/flows.git"
            yield repository
    finally:
        repository.remove()


def places(platform, private, *reports):
    """Return whatever may show a token: what the deployer said, the server answers, git-server logged."""
    client = platform.client
    answers = [
        client.request("POST", f"/{kind}/filter", json={}).text
        for kind in ("deployments", "block_documents", "flow_runs", "logs")
    ]
    said = [json.dumps([report.failures, [repr(row) for row in report.rows]]) for report in reports]
    return [*said, *answers, private.log()]


@pytest.mark.long
def test_the_right_token_deploys_and_runs_and_a_revoked_one_is_one_sentence(platform, private):
    variables = {
        "FLOWS_GIT_URL": private.url,
        "FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", TOKEN)),
    }
    tls = {"GIT_SSL_CAINFO": os.environ["GIT_SSL_CAINFO"]}
    applied = platform.apply(YAML, environment=variables)
    assert applied.failures == []
    deployment = platform.client.read_deployment_by_name("one/one").id

    def run():
        run_id = platform.client.create_flow_run_from_deployment(deployment).id
        output = platform.work_once(FLOWS_GIT_URL=private.url, **tls)
        return platform.client.read_flow_run(run_id).state, output

    state, output = run()
    assert state.is_completed(), output
    assert TOKEN not in output

    private.login = "another"
    revoked = platform.apply(YAML, environment=variables)
    assert revoked.failures == [
        f"{platform.folder / 'prefect.yaml'}:3: deployment 'one': the git repository {private.url} refused "
        "the credential; check that it is valid and may read the repository."
    ]
    state, output = run()
    assert not state.is_completed()
    assert TOKEN not in output + (state.message or "")
    assert not [place for place in places(platform, private, applied, revoked) if TOKEN in place]


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "by the deployer"])
def test_the_token_can_be_in_a_block_of_prefect_github(platform, private, by_hand):
    url = 'repository: "{{ $FLOWS_GIT_URL }}"'
    block = 'credentials: "{{ prefect.blocks.github-credentials.github }}"'
    text = YAML.replace(url, f"{url}\n      {block}")
    missing = platform.apply(text, environment={"FLOWS_GIT_URL": private.url})
    (told,) = missing.failures
    assert told.endswith(
        "the server has no block 'github' of the type 'github-credentials'; create it, or write another, or "
        "name the token's file in GITHUB_TOKEN_FILE."
    )
    variables = {"FLOWS_GIT_URL": private.url}
    if by_hand:
        GitHubCredentials(token=TOKEN).save("github")
    else:
        variables["GITHUB_TOKEN_FILE"] = str(platform.secret("token", TOKEN))
    applied = platform.apply(text, environment=variables)
    assert applied.failures == []
    run_id = platform.client.create_flow_run_from_deployment(
        platform.client.read_deployment_by_name("one/one").id
    ).id
    output = platform.work_once(FLOWS_GIT_URL=private.url, GIT_SSL_CAINFO=os.environ["GIT_SSL_CAINFO"])
    assert platform.client.read_flow_run(run_id).state.is_completed(), output
    assert not [place for place in [*places(platform, private, applied), output] if TOKEN in place]


def test_a_deployment_from_python_can_name_the_block_of_the_git_token(platform, private):
    variables = {"FLOWS_GIT_URL": private.url, "FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", TOKEN))}
    assert platform.apply(YAML, environment=variables).failures == []
    source = GitRepository(
        url=private.url, branch="main", credentials={"access_token": Secret.load("github-pat-token")}
    )
    flow.from_source(source, entrypoint="flows/two.py:run").deploy(
        name="from-python", work_pool_name="yeedu-pool", build=False, push=False, print_next_steps=False
    )
    deployment = platform.client.read_deployment_by_name("two/from-python")
    (step,) = deployment.pull_steps
    inputs = step["prefect.deployments.steps.git_clone"]
    assert inputs["credentials"] == {"access_token": "{{ prefect.blocks.secret.github-pat-token }}"}
    run_id = platform.client.create_flow_run_from_deployment(deployment.id).id
    output = platform.work_once(GIT_SSL_CAINFO=os.environ["GIT_SSL_CAINFO"])
    assert platform.client.read_flow_run(run_id).state.is_completed(), output
    assert not [place for place in [*places(platform, private), output] if TOKEN in place]


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (
            "canary-of-a-wrong-token",
            "refused the credential; check that it is valid and may read the repository.",
        ),
        (
            "",
            "asks for a credential; name a token's file in FLOWS_GIT_TOKEN_FILE, which is for "
            "FLOWS_GIT_URL's host alone, or a block in the step's access_token.",
        ),
    ],
)
def test_a_wrong_and_an_empty_token_are_one_sentence(platform, private, token, reason):
    variables = {
        "FLOWS_GIT_URL": private.url,
        "FLOWS_GIT_TOKEN_FILE": str(platform.secret("token", token)),
    }
    refused = platform.apply(YAML, environment=variables)
    (told,) = refused.failures
    assert told.endswith(f"the git repository {private.url} {reason}")
    assert not [place for place in places(platform, private, refused) if "canary-of-a" in place]
