"""When the environment is installed anew, and from which locks."""

from pathlib import Path

import pytest

from local.console import Console
from local.errors import CommandError
from local.install import virtual_environment
from local.settings.platform import Settings


def test_tools_are_added_when_asked_for_and_never_taken_away() -> None:
    assert virtual_environment.choose({}, for_development=False) == (
        "platform",
        virtual_environment.PLATFORM_LOCKS,
    )
    assert virtual_environment.choose({"platform": "x"}, for_development=True) == (
        "development",
        virtual_environment.DEVELOPMENT_LOCKS,
    )
    assert virtual_environment.choose({"development": "x"}, for_development=False) == (
        "development",
        virtual_environment.DEVELOPMENT_LOCKS,
    )


def test_tools_are_in_no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_environment, "has_bundle", lambda: True)
    with pytest.raises(CommandError, match=r"^\.bundle has no development tools; delete it"):
        virtual_environment.install(Console(), Settings({}), for_development=True)


def test_digest_changes_with_a_lock_and_with_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_environment, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    lock = tmp_path / "requirements" / "dev.txt"
    lock.write_text("a==1")
    for package in virtual_environment.PACKAGES:
        (tmp_path / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / package / "pyproject.toml").write_text("[project]")
    first = virtual_environment.lock_digest(["dev.txt"])
    assert virtual_environment.lock_digest(["dev.txt"]) == first
    lock.write_text("a==2")
    second = virtual_environment.lock_digest(["dev.txt"])
    (tmp_path / "worker" / "pyproject.toml").write_text("[project]\n")
    assert len({first, second, virtual_environment.lock_digest(["dev.txt"])}) == 3


def test_incomplete_checkout_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_environment, "ROOT", tmp_path)
    with pytest.raises(
        CommandError, match=r"dev\.txt: No such file or directory; is this checkout complete\?"
    ):
        virtual_environment.lock_digest(["dev.txt"])


def test_platform_locks_hold_everything_that_its_packages_need() -> None:
    """A package of the worker's lock is in the deployer's, so that one installation serves both."""
    names = {
        lock: {line.partition("==")[0] for line in text.splitlines() if "==" in line}
        for lock in ("worker.txt", "deployer.txt")
        for text in [(virtual_environment.ROOT / "requirements" / lock).read_text(encoding="utf-8")]
    }
    assert names["worker.txt"] <= names["deployer.txt"]
