"""Which release an upgrade goes to, what the checkout becomes, and the rollback, in real repositories."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from local.bundle.bundle import has_bundle
from local.errors import CommandError
from local.upgrade import bundles
from local.upgrade import git as gits
from local.upgrade.git import Git
from local.upgrade.releases import STOPS, clone, find, forget, stops_between

AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
FLOW = "print('of the platform')\n" * 8


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *AUTHOR, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write(folder: Path, files: Mapping[str, str | None]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            file.unlink()
        else:
            file.write_text(text)


def commit(folder: Path, files: Mapping[str, str | None], tag: str = "") -> None:
    write(folder, files)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Change")
    if tag:
        git(folder, "tag", tag)


def of_version(version: str) -> str:
    return f"name: x\nimage: server:${{PLATFORM_VERSION:-{version}}}\n"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with the releases 0.9.0, 0.10.0 and 0.10.1."""
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    start = {"docker-compose.yaml": of_version("0.9.0"), "flows/a.py": FLOW, "old.txt": "old\n"}
    commit(folder, start, "v0.9.0")
    commit(
        folder, {"docker-compose.yaml": of_version("0.10.0"), "new/b.py": "b\n", "old.txt": None}, "v0.10.0"
    )
    commit(folder, {"docker-compose.yaml": of_version("0.10.1")}, "v0.10.1")
    commit(folder, {"docker-compose.yaml": of_version("0.11.0")})  # not released
    git(folder, "tag", "v1.0.0-beta")
    return folder


@pytest.fixture
def checkout(origin: Path, tmp_path: Path) -> Path:
    """A checkout of 0.9.0."""
    folder = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", "--no-tags", str(origin), str(folder))
    git(folder, "checkout", "--quiet", "-B", "main", git(origin, "rev-parse", "v0.9.0"))
    return folder


def state(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and ".git" not in file.parts
    }


def test_the_newest_release_of_the_remote_is_taken_by_its_number(checkout: Path) -> None:
    before = state(checkout)
    assert find(Git(checkout), "", None) == "0.10.1"
    assert find(Git(checkout), "v0.10.0", None) == "0.10.0"
    assert (state(checkout), git(checkout, "tag")) == (before, "")


def test_a_release_that_is_not_there_is_told_with_those_that_are(checkout: Path) -> None:
    with pytest.raises(
        CommandError, match=r"origin has no release 2\.0\.0; its newest are 0\.9\.0, 0\.10\.0, 0"
    ):
        find(Git(checkout), "2.0.0", None)


def test_a_repository_without_releases_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(CommandError, match="no checkout that git made"):
        find(Git(tmp_path), "", None)
    commit(tmp_path, {"docker-compose.yaml": of_version("0.9.0")})
    with pytest.raises(
        CommandError, match=r"has no remote origin, has no release, which is a tag such as v1"
    ):
        find(Git(tmp_path), "", None)


def test_own_commits_are_kept_and_go_with_the_release(checkout: Path, tmp_path: Path) -> None:
    commit(checkout, {"flows/mine.py": "mine\n", "flows/a.py": FLOW + "# mine\n"})
    before, head = state(checkout), git(checkout, "rev-parse", "HEAD")
    folder = tmp_path / "release"
    release = clone(Git(checkout), find(Git(checkout), "0.10.0", None), folder)
    assert (state(checkout), git(checkout, "rev-parse", "HEAD")) == (before, head)
    Git(checkout).put(release.commit, head)
    assert state(checkout) == state(folder)
    assert (checkout / "flows" / "mine.py").exists()
    assert "PLATFORM_VERSION:-0.10.0" in (checkout / "docker-compose.yaml").read_text()
    assert git(checkout, "status", "--porcelain", "--branch") == "## main...origin/main [ahead 2, behind 2]"
    Git(checkout).put(head, release.commit)
    assert (state(checkout), git(checkout, "rev-parse", "HEAD")) == (before, head)
    assert git(checkout, "status", "--porcelain") == ""
    forget(Git(checkout), folder)
    assert not folder.exists()
    assert "refs/upgrade" not in git(checkout, "for-each-ref")


def test_own_commits_to_the_same_lines_are_told_by_file(checkout: Path, tmp_path: Path) -> None:
    commit(checkout, {"docker-compose.yaml": of_version("0.9.0-mine")})
    with pytest.raises(
        CommandError, match=r"change the same lines of docker-compose\.yaml; merge v0\.10\.0 in"
    ):
        clone(Git(checkout), find(Git(checkout), "0.10.0", None), tmp_path / "release")


@pytest.mark.parametrize("files_done", [0, 1, 2, 3])
def test_the_way_back_begins_wherever_the_way_there_was_cut_off(
    checkout: Path, tmp_path: Path, files_done: int
) -> None:
    """As a kill leaves it: some files new, the index locked, HEAD old; and a local change beside them."""
    release = clone(Git(checkout), find(Git(checkout), "0.10.0", None), tmp_path / "release")
    old, before = git(checkout, "rev-parse", "HEAD"), state(checkout)
    (checkout / "flows/a.py").write_text("changed here\n")
    new = {"docker-compose.yaml": of_version("0.10.0"), "new/b.py": "b\n", "old.txt": None}
    write(checkout, dict(list(new.items())[:files_done]))
    (checkout / ".git" / "index.lock").touch()
    Git(checkout).put(old, release.commit)
    assert state(checkout) == before | {"flows/a.py": "changed here\n"}
    assert not (checkout / "new").exists()
    assert git(checkout, "status", "--porcelain") == "M flows/a.py"


def test_a_commit_that_is_of_neither_release_is_kept(checkout: Path, tmp_path: Path) -> None:
    release = clone(Git(checkout), find(Git(checkout), "0.10.0", None), tmp_path / "release")
    old = git(checkout, "rev-parse", "HEAD")
    commit(checkout, {"flows/a.py": "mine\n"})
    before, mine = state(checkout), git(checkout, "rev-parse", "HEAD")
    for there, other in ((old, release.commit), (release.commit, old)):
        with pytest.raises(CommandError, match=rf"at the commit {mine[:12]}, which is of neither release"):
            Git(checkout).put(there, other)
    assert (state(checkout), git(checkout, "rev-parse", "HEAD")) == (before, mine)


def test_the_lock_of_a_git_that_lives_is_left_to_it(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = clone(Git(checkout), find(Git(checkout), "0.10.0", None), tmp_path / "release")
    monkeypatch.setattr(gits, "_LOCK_SECONDS", 0.3)
    old, lock = git(checkout, "rev-parse", "HEAD"), checkout / ".git" / "index.lock"
    lock.touch()
    # Reads objects' names from its input for as long as that is open.
    with subprocess.Popen(["git", "cat-file", "--batch"], cwd=checkout, stdin=subprocess.PIPE) as living:
        with pytest.raises(CommandError, match=rf"another git is at work \(process {living.pid}\); end it"):
            Git(checkout).put(release.commit, old)
        assert lock.exists()
        assert living.stdin
        living.stdin.close()
    Git(checkout).put(release.commit, old)
    assert git(checkout, "rev-parse", "HEAD") == release.commit


def test_a_checkout_is_taken_from_a_path(checkout: Path, origin: Path, tmp_path: Path) -> None:
    assert find(Git(checkout), "", origin) == "0.11.0"
    with pytest.raises(CommandError, match=r"is of release 0\.11\.0, and not 0\.10\.0"):
        find(Git(checkout), "0.10.0", origin)
    assert clone(Git(checkout), "0.11.0", tmp_path / "release").version == "0.11.0"


def test_an_unpacked_release_is_compared_with_todays(checkout: Path, tmp_path: Path) -> None:
    """Without git's history it is the tag of today's release that tells what the team added."""
    commit(checkout, {"flows/mine.py": "mine\n"})
    unpacked = tmp_path / "unpacked"
    write(unpacked, {"docker-compose.yaml": of_version("0.10.0"), "flows/a.py": FLOW, "new/b.py": "b\n"})
    with pytest.raises(CommandError, match=r"no git checkout, and this one has no tag v0\.9\.0"):
        find(Git(checkout), "", unpacked)
    git(checkout, "fetch", "--quiet", "--tags")
    release = clone(Git(checkout), find(Git(checkout), "", unpacked), tmp_path / "release")
    assert set(state(release.folder)) == {"docker-compose.yaml", "flows/a.py", "flows/mine.py", "new/b.py"}
    assert not (unpacked / ".git").exists()


@pytest.mark.parametrize("had_one", [True, False])
@pytest.mark.parametrize("brings_one", [True, False])
def test_a_bundle_goes_and_comes_back_with_its_release(
    tmp_path: Path, had_one: bool, brings_one: bool
) -> None:
    root, new, state = (tmp_path / name for name in ("root", "new", "state"))
    for folder in (root, new, state):
        folder.mkdir()
    (new / "bundle.json").write_text("new")
    if had_one:
        write(root / ".bundle", {"bundle.json": "old"})
    source = str(new) if brings_one else ""
    bundles.take(source, root, state)
    found = root / ".bundle" / "bundle.json"
    assert (found.read_text() if found.exists() else "") == ("new" if brings_one else "")
    bundles.put_back(root, state, had_one=had_one)
    assert (found.read_text() if found.exists() else "") == ("old" if had_one else "")
    assert not (state / "bundle").exists()


def test_a_bundle_that_was_not_replaced_yet_stays(tmp_path: Path) -> None:
    """As when the disk was full before the new release's bundle was taken."""
    write(tmp_path / ".bundle", {"bundle.json": "old"})
    assert has_bundle(tmp_path)
    bundles.put_back(tmp_path, tmp_path / "state", had_one=True)
    assert (tmp_path / ".bundle" / "bundle.json").read_text() == "old"


def test_a_tag_that_names_another_version_is_no_release(origin: Path, checkout: Path, tmp_path: Path) -> None:
    git(origin, "tag", "v0.12.0")
    assert find(Git(checkout), "", None) == "0.10.1"
    with pytest.raises(CommandError, match=r"v0\.12\.0 names 0\.11\.0 as its version"):
        clone(Git(checkout), find(Git(checkout), "0.12.0", None), tmp_path / "release")


@pytest.mark.parametrize("tag", ["v2026.11.30", "v2026.01.05", "v1.2", "v1.2.3.4", "v٣.0.0", "v9.9.9-rc1"])
@pytest.mark.parametrize("is_remote", [True, False])
def test_a_tag_of_another_kind_is_no_release(origin: Path, checkout: Path, tag: str, is_remote: bool) -> None:
    git(origin, "tag", tag)
    if not is_remote:
        git(checkout, "fetch", "--quiet", "--tags")
        git(checkout, "remote", "remove", "origin")
    assert find(Git(checkout), "", None) == "0.10.1"


def test_tags_of_another_kind_alone_are_no_releases(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, {"docker-compose.yaml": of_version("0.9.0")}, "v2026.11.30")
    with pytest.raises(CommandError, match=r"has no release: v2026\.11\.30 and the other tags name another"):
        find(Git(tmp_path), "", None)


def test_a_release_that_may_not_be_skipped_is_found_between_the_two(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            str(STOPS): '[[stop]]\nversion = "0.10.0"\nreason = "second"\n'
            '[[stop]]\nversion = "0.9.5"\nreason = "first"\n'
        },
    )
    assert stops_between(tmp_path, "0.9.0", "1.0.0") == [("0.9.5", "first"), ("0.10.0", "second")]
    assert stops_between(tmp_path, "0.9.5", "0.10.0") == []
    assert stops_between(tmp_path / "none", "0.9.0", "1.0.0") == []
