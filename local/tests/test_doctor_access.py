"""Whether `make doctor` sees that git, Yeedu or a token lets flows down: with real git and the mock."""

import base64
import json
import subprocess
import time
from pathlib import Path

import pytest

from local.doctor import access
from local.tests.patients import assert_told, checkout, findings, notes, patient, wrongs
from tests.git_hosts import TOKEN, git_host
from tests.tls_server import private_authority
from yeedu_mock.testing import RunningMock


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    """A folder with a repository that has one commit on the branch main."""
    folder = tmp_path / "repositories" / "flows.git"
    folder.mkdir(parents=True)
    git = ["git", "-C", str(folder), "-c", "user.name=Tester", "-c", "user.email=tester@localhost"]
    subprocess.run([*git, "init", "--quiet", "--bare", "--initial-branch=main"], check=True)
    tree = subprocess.run(
        [*git, "mktree"], input="", check=True, capture_output=True, text=True
    ).stdout.strip()
    commit = subprocess.run(
        [*git, "commit-tree", tree, "-m", "x"], check=True, capture_output=True, text=True
    )
    subprocess.run([*git, "update-ref", "refs/heads/main", commit.stdout.strip()], check=True)
    return folder.parent


def test_repository_without_the_branch_is_wrong(tmp_path: Path, repositories: Path) -> None:
    values = {"FLOWS_GIT_URL": f"file://{repositories}/flows.git"}
    [found] = findings(patient(checkout(tmp_path), values), "git")
    assert (found.level, "(commit " in found.text) == ("ok", True)
    site = patient(tmp_path, {**values, "FLOWS_GIT_REF": "mian"})
    assert_told(wrongs(site, "git"), "no branch or tag 'mian'", "did you mean 'main'?", "FLOWS_GIT_REF")


@pytest.mark.parametrize(("token", "words"), [(TOKEN, []), ("another-token", ["refused the credential"])])
def test_token_that_the_host_refuses_is_wrong(
    tmp_path: Path, repositories: Path, token: str, words: list[str]
) -> None:
    authority, server = private_authority(tmp_path)
    with git_host(server, repositories, "GitLab") as host:
        values = {
            "FLOWS_GIT_URL": f"{host.url}/flows.git",
            "CA_CERT_FILE": str(authority),
            "FLOWS_GIT_TOKEN": token,
        }
        found = wrongs(patient(checkout(tmp_path), values), "git")
        assert (("oauth2", TOKEN) in host.asked) == (token == TOKEN)
    if words:
        assert_told(found, *words, "FLOWS_GIT_TOKEN")
        assert token not in found[0]
    else:
        assert found == []


def test_checkout_that_is_no_repository_is_wrong(tmp_path: Path) -> None:
    assert_told(wrongs(patient(checkout(tmp_path), {}), "git"), "no git repository", "FLOWS_GIT_URL")


def test_yeedu_that_refuses_the_login_is_wrong(tmp_path: Path, yeedu_mock: RunningMock) -> None:
    values = {
        "YEEDU_JOB_URL": yeedu_mock.job_url(101),
        "YEEDU_USERNAME": yeedu_mock.settings.username,
        "YEEDU_PASSWORD": yeedu_mock.settings.password or "",
    }
    [found] = findings(patient(checkout(tmp_path), values), "yeedu")
    assert (found.level, "takes the login" in found.text) == ("ok", True), found
    wrong_one = {**values, "YEEDU_PASSWORD": "another-password"}
    told = wrongs(patient(tmp_path, wrong_one), "yeedu")
    assert_told(told, "refuses the user name", "YEEDU_USERNAME")
    assert "another-password" not in told[0]


def test_yeedu_without_password_and_token_is_wrong(tmp_path: Path) -> None:
    values = {"YEEDU_JOB_URL": "https://yeedu.example.com:8080/tenant/x/workspace/1/spark/job/1"}
    assert_told(wrongs(patient(checkout(tmp_path), values), "yeedu"), "neither a password nor a token")


def jwt(expires: float) -> str:
    parts = [{"alg": "none"}, {"exp": expires}, {}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts)


def test_token_that_has_ended_is_wrong_and_one_that_soon_will_is_worth_a_note(tmp_path: Path) -> None:
    old, soon = jwt(time.time() - 7300), jwt(time.time() + 86400 * 3 + 60)
    values = {"YEEDU_TOKEN": old, "FLOWS_GIT_TOKEN": soon, "GITHUB_TOKEN": "ghp_of_github"}
    site = patient(checkout(tmp_path), values)
    assert_told(wrongs(site, "tokens"), "YEEDU_TOKEN ended 2 h ago", "YEEDU_TOKEN_FILE", "--force-recreate")
    assert_told(notes(site, "tokens"), "FLOWS_GIT_TOKEN ends in 3 d")
    assert old not in str(findings(site, "tokens"))
    assert access.end_of("ghp_of_github") is None
    assert_told(wrongs(patient(tmp_path, {"GITHUB_TOKEN": "a b"}), "tokens"), "whitespace")
