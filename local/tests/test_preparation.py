"""Secrets for the local processes, and the repository that their flows are cloned from."""

import os
import subprocess
from pathlib import Path

import pytest

from local.errors import CommandError
from local.processes import preparation
from local.settings.platform import ROOT, Settings


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "secrets"
    monkeypatch.setattr(preparation, "SECRETS", folder)
    return folder


def test_secrets_are_made_once_and_for_this_user_only(secrets: Path) -> None:
    preparation.prepare_secrets(Settings({}))
    first = {file: file.read_text() for file in secrets.glob("*/*")}
    assert first[secrets / "mock" / "yeedu-password"] == first[secrets / "deployer" / "yeedu-password"] != ""
    assert first[secrets / "api" / "auth-string"] == ""
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in first} == {0o600}
    preparation.prepare_secrets(Settings({}))
    assert {file: file.read_text() for file in secrets.glob("*/*")} == first


def test_own_values_and_files_are_taken(secrets: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("from a file\n")
    preparation.prepare_secrets(Settings({"YEEDU_PASSWORD": "mine", "YEEDU_TOKEN_FILE": str(token)}))
    assert (secrets / "deployer" / "yeedu-password").read_text() == "mine"
    assert (secrets / "deployer" / "yeedu-token").read_text() == "from a file"
    assert sorted(path.name for path in secrets.iterdir()) == [
        "api",
        "database",
        "deployer",
        "git",
        "key",
        "mock",
        "redis",
        "server",
        "warehouse",
    ]


def test_file_that_is_not_there_is_named(secrets: Path) -> None:
    with pytest.raises(CommandError, match="YEEDU_TOKEN_FILE=/nonexistent: there is no such file"):
        preparation.prepare_secrets(Settings({"YEEDU_TOKEN_FILE": "/nonexistent"}))


def test_address_that_others_reach_needs_a_login(secrets: Path) -> None:
    with pytest.raises(CommandError, match=r"PREFECT_BIND_ADDRESS=0\.0\.0\.0 opens the API"):
        preparation.prepare_secrets(Settings({"PREFECT_BIND_ADDRESS": "0.0.0.0"}))
    preparation.prepare_secrets(
        Settings({"PREFECT_BIND_ADDRESS": "0.0.0.0", "PREFECT_API_AUTH_STRING": "me:password-of-the-test"})
    )
    assert (secrets / "api" / "auth-string").read_text() == "me:password-of-the-test"


def test_value_that_cannot_be_used_is_named_without_it(secrets: Path) -> None:
    with pytest.raises(CommandError, match="PREFECT_SERVER_ENCRYPTION_KEY is not a Fernet key") as caught:
        preparation.prepare_secrets(Settings({"PREFECT_SERVER_ENCRYPTION_KEY": "hidden"}))
    assert "hidden" not in str(caught.value)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout without a repository."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "git-server").symlink_to(ROOT / "git-server")
    (folder / "flows").mkdir()
    (folder / "flows" / "flow.py").write_text("first")
    monkeypatch.setattr(preparation, "ROOT", folder)
    monkeypatch.setattr(preparation, "STATE", tmp_path / "state")
    return folder


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=Tester", "-c", "user.email=tester@localhost"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


def cloned_flow(url: str, target: Path) -> str:
    git(target.parent, "clone", "--depth", "1", url, str(target))
    return (target / "flows" / "flow.py").read_text()


def test_checkout_with_a_repository_is_cloned_live(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "init")
    git(checkout, "add", "flows")
    git(checkout, "commit", "--message", "first")
    url, description = preparation.prepare_flows(os.environ)
    assert "live" in description
    assert cloned_flow(url, tmp_path / "first") == "first"
    (checkout / "flows" / "flow.py").write_text("second")
    git(checkout, "commit", "--all", "--message", "second")
    assert cloned_flow(url, tmp_path / "second") == "second"


def test_downloaded_archive_is_cloned_from_a_snapshot(checkout: Path, tmp_path: Path) -> None:
    url, description = preparation.prepare_flows(os.environ)
    assert "snapshot" in description
    assert cloned_flow(url, tmp_path / "first") == "first"


def test_repository_that_git_refuses_is_cloned_from_a_snapshot(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "init")
    git(checkout, "add", "flows")
    git(checkout, "commit", "--message", "first")
    # What git does where another user owns the repository.
    strict = {**os.environ, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    url, description = preparation.prepare_flows(strict)
    assert "another user owns it" in description
    assert cloned_flow(url, tmp_path / "first") == "first"
