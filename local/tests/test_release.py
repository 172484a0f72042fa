"""`make release` on repositories of its own: what it refuses, and what a release is."""

import re
import subprocess
from pathlib import Path

import pytest

from local.console import Console
from local.errors import CommandError
from local.release import changelog
from local.release.make_release import git, make_release
from local.release.version import numbers, platform_version
from local.release.version_files import stated
from tests.platforms import copy_checkout

CHANGES = """# Changelog

## [Unreleased]

### Added
- A thing.

## [1.2.3] - 2026-01-31

### Fixed
- Older.
"""
PLACES = {
    "VERSION": "1.2.3\n",
    "CHANGELOG.md": CHANGES,
    "docker-compose.images.yaml": "image: ${PREFIX:-a}-worker:${PLATFORM_VERSION:-1.2.3}\nother: 1.2.3\n",
    ".env.example": "#PLATFORM_VERSION=1.2.3\n",
    "worker/pyproject.toml": '[project]\nversion = "1.2.3"\ndependencies = ["other>=1.2.3"]\n',
    "docs/page.md": "`yeedu-prefect-worker:1.2.3`, and Prefect 1.2.3\n",
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tester@localhost")
    root = tmp_path / "checkout"
    for name, text in PLACES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=Start")
    return root


def test_release_is_a_commit_with_the_version_everywhere_and_its_tag(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release("1.3.0", Console(), checkout)
    assert capsys.readouterr().out.endswith("To publish it: git push --atomic origin main v1.3.0\n")
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "log", "--format=%s") == "Release 1.3.0\nStart"
    assert git(checkout, "cat-file", "-t", "v1.3.0") == "tag"
    assert git(checkout, "rev-parse", "v1.3.0^{commit}") == git(checkout, "rev-parse", "HEAD")
    assert platform_version(checkout) == "1.3.0"
    assert {found for _, found in stated(checkout)} == {"1.3.0"}
    assert len(list(stated(checkout))) == len(PLACES) - 2
    for name in ("docker-compose.images.yaml", "worker/pyproject.toml", "docs/page.md"):
        text = (checkout / name).read_text(encoding="utf-8")
        assert text.count("1.3.0") == 1, name
        assert text.replace("1.3.0", "1.2.3") == PLACES[name], "what is another's version stays"


def test_open_section_becomes_the_releases(checkout: Path) -> None:
    make_release("v1.3.0", Console(), checkout)
    text = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = re.sub(r"1\.3\.0\] - \d{4}-\d\d-\d\d$", "1.3.0] - TODAY", text, flags=re.MULTILINE)
    assert dated == CHANGES.replace("## [Unreleased]", "## [Unreleased]\n\n## [1.3.0] - TODAY")
    assert changelog.newest(text) == "1.3.0"
    assert changelog.section(text, "1.3.0") == "### Added\n- A thing."
    assert changelog.section(text, "1.2.3") == "### Fixed\n- Older."
    with pytest.raises(CommandError, match="no section of a release 9"):
        changelog.section(text, "9.0.0")


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("", r"name the version: make release VERSION=1\.4\.0 \(this checkout is 1\.2\.3\)"),
        ("1.3", r"'1\.3' is no version: it has three numbers"),
        ("1.3.0-rc.1", "is no version"),
        ("1.03.0", "is no version"),
        ("1.2.3", r"1\.2\.3 does not come after 1\.2\.3, which CHANGELOG\.md has as released"),
        ("1.1.9", r"1\.1\.9 does not come after 1\.2\.3"),
        ("0.10.0", r"0\.10\.0 does not come after"),
    ],
)
def test_version_that_does_not_come_next_is_refused(checkout: Path, version: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        make_release(version, Console(), checkout)
    assert git(checkout, "log", "--format=%s") == "Start"
    assert git(checkout, "tag") == ""


def test_versions_are_compared_as_numbers() -> None:
    assert numbers("0.10.0") > numbers("0.9.9")


@pytest.mark.parametrize("name", ["docs/page.md", "new.txt"])
def test_tree_with_changes_is_refused(checkout: Path, name: str) -> None:
    (checkout / name).write_text("mine", encoding="utf-8")
    with pytest.raises(CommandError, match=rf"not committed: {name}; commit or stash it"):
        make_release("1.3.0", Console(), checkout)
    assert platform_version(checkout) == "1.2.3"


def test_tag_that_is_there_is_refused(checkout: Path) -> None:
    git(checkout, "tag", "v1.3.0")
    with pytest.raises(CommandError, match=r"there is a tag v1\.3\.0 already"):
        make_release("1.3.0", Console(), checkout)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            CHANGES.replace("## [Unreleased]", "## Soon"),
            r"has no section `## \[Unreleased\]`; say there what",
        ),
        (CHANGES.replace("### Added\n- A thing.\n", ""), "nothing stands under"),
    ],
)
def test_changelog_that_says_nothing_is_refused(checkout: Path, text: str, said: str) -> None:
    (checkout / "CHANGELOG.md").write_text(text, encoding="utf-8")
    git(checkout, "commit", "--quiet", "--all", "--message=Change")
    with pytest.raises(CommandError, match=said):
        make_release("1.3.0", Console(), checkout)


@pytest.mark.parametrize("hook", ["pre-commit", "reference-transaction"])
def test_commit_or_tag_that_fails_leaves_the_checkout_as_it_was(checkout: Path, hook: str) -> None:
    script = "#!/bin/sh\ngrep -q refs/tags/ && exit 1\nexit 0\n" if "ref" in hook else "#!/bin/sh\nexit 1\n"
    file = checkout / ".git" / "hooks" / hook
    file.parent.mkdir(exist_ok=True)
    file.write_text(script)
    file.chmod(0o755)
    with pytest.raises(CommandError, match=r"git (commit|tag): "):
        make_release("1.3.0", Console(), checkout)
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "log", "--format=%s") == "Start"
    assert platform_version(checkout) == "1.2.3"


def test_this_checkout_can_be_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tester@localhost")
    copy = tmp_path / "checkout"
    copy_checkout(copy)
    make_release("99.0.0", Console(), copy)
    assert {found for _, found in stated(copy)} == {"99.0.0"}
    changed = git(copy, "diff", "--name-only", "HEAD~1").splitlines()
    assert {
        "VERSION",
        "CHANGELOG.md",
        "docker-compose.images.yaml",
        "yeedu-operator/guide/pyproject.toml",
    } <= set(changed)
    notes = ["python3", "-m", "local.release.changelog", "v99.0.0"]
    assert subprocess.check_output(notes, cwd=copy, text=True).startswith("### ")
