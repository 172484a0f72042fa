"""Real repositories, over files and over https with a token, and a sentence for each way to fail."""

import base64
import os
import stat
import subprocess
from urllib.parse import quote

import pytest
from prefect.runner import storage

from tests.git_over_https import GitHandler, git_over_https
from yeedu_deployer.errors import SourceError
from yeedu_deployer.git.repository import Credential, Repository

TOKEN = "canary-git-token"


class PrivateHandler(GitHandler):
    """Open to those who send the token."""

    def serve(self):
        expected = "Basic " + base64.b64encode(f"{TOKEN}:".encode()).decode()
        if self.headers.get("Authorization") == expected:
            super().serve()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def private_url(repository, certificate, monkeypatch):
    """The repository over https, which asks for the token; the certificate is trusted."""
    repository.add_flows("one")
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    with git_over_https(certificate, repository.path.parent, PrivateHandler) as server:
        yield f"https://127.0.0.1:{server.server_port}/{repository.path.name}/.git"


@pytest.fixture
def git_calls(tmp_path, monkeypatch):
    """Every command line that git is started with."""
    log, folder = tmp_path / "git-calls", tmp_path / "bin"
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    folder.mkdir()
    wrapper = folder / "git"
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {real} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


def failure(url, token=None, revision=""):
    with pytest.raises(SourceError) as caught:
        Repository.from_url(url, token).check(revision)
    return str(caught.value)


@pytest.mark.parametrize("revision", ["", "main", "feature/x", "v1"])
def test_a_branch_a_tag_and_the_default_branch_are_found_and_fetched(repository, tmp_path, revision):
    repository.add_flows("one")
    repository.git("tag", "v1")
    repository.git("branch", "feature/x")
    source = Repository.from_url(repository.url)

    source.check(revision)
    source.fetch(revision, tmp_path / "clone")

    assert (tmp_path / "clone/flows/one.py").is_file()


def test_a_commit_is_fetched_without_history(repository, tmp_path):
    first = repository.add_flows("one")
    repository.add_flows("two")
    source = Repository.from_url(repository.url)

    source.check(first)
    source.fetch(first, tmp_path / "clone")

    assert [file.name for file in (tmp_path / "clone/flows").iterdir()] == ["one.py"]


def test_a_wrong_branch_is_named_with_the_nearest_one(repository):
    repository.add_flows("one")
    assert failure(repository.url, revision="mian") == (
        f"The git repository {repository.url} has no branch or tag 'mian'; did you mean 'main'?"
    )
    assert failure(repository.url, revision="zzz") == (
        f"The git repository {repository.url} has no branch or tag 'zzz'; it has main."
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///no/such/repository", "is not a git repository, or the credential may not see it."),
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


def test_the_right_token_opens_a_private_repository(private_url, tmp_path, git_calls):
    source = Repository.from_url(private_url, TOKEN)

    source.check("main")
    source.fetch("main", tmp_path / "clone")

    assert (tmp_path / "clone/flows/one.py").is_file()
    assert TOKEN not in git_calls.read_text()
    assert TOKEN not in (tmp_path / "clone/.git/config").read_text()
    assert TOKEN not in repr(source)


def test_a_wrong_and_a_missing_token_get_one_sentence_each_that_does_not_hold_it(private_url, git_calls):
    wrong = failure(private_url, "canary-wrong-token")
    missing = failure(private_url)

    assert wrong == (
        f"The git repository {private_url} refused the credential; "
        "check that it is valid and may read the repository."
    )
    assert missing == (
        f"The git repository {private_url} asks for a credential; "
        "name a token's file in FLOWS_GIT_TOKEN_FILE."
    )
    assert "canary" not in git_calls.read_text()


def test_a_credential_in_the_url_is_used_and_never_shown(private_url, git_calls):
    right, wrong = (private_url.replace("https://", f"https://{name}@") for name in (TOKEN, "canary-x:y"))

    Repository.from_url(right).check("main")

    assert "canary" not in failure(wrong)
    assert "canary" not in git_calls.read_text()


def test_a_token_is_not_sent_without_encryption():
    assert "Prefect sends tokens over https only" in failure("http://127.0.0.1:9/x.git", TOKEN)


def test_an_untrusted_certificate_gets_one_sentence(private_url, monkeypatch):
    monkeypatch.delenv("GIT_SSL_CAINFO")
    assert failure(private_url, TOKEN) == (
        f"The git repository {private_url} has a TLS certificate that is not trusted; "
        "name its CA's file in CA_CERT_FILE (or GIT_SSL_CAINFO)."
    )


@pytest.mark.parametrize("host", ["github.com", "gitlab.com", "bitbucket.org", "git.example.com"])
@pytest.mark.parametrize("token", ["plain", "user:password"])
def test_a_token_is_sent_as_the_workers_git_clone_step_sends_it(host, token):
    ours = Credential.from_token(token, host)
    theirs = storage._format_token_from_credentials(host, {"access_token": token})
    assert f"{quote(ours.username)}:{quote(ours.password)}".rstrip(":") == theirs
