"""`make upgrade FROM=` an unpacked bundle, without an engine: what is taken of it, and how it stays."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from local.bundle.build import pack
from local.bundle.bundle import CHECKOUT, SUMS, Bundle, bundle_of
from local.console import Console
from local.containers import images
from local.containers.images import load_images, record_of
from local.errors import CommandError
from local.tests.test_bundle import CONTENTS, damage, install
from local.tests.test_upgrade_releases import checkout, commit, git, of_version, origin, state
from local.upgrade import bundles
from local.upgrade.git import Git
from local.upgrade.releases import clone, find

__all__ = ["checkout", "origin"]  # fixtures


@pytest.fixture
def unpacked(origin: Path, tmp_path: Path) -> Path:
    """An unpacked bundle of 0.10.1, as `make bundle` makes one, whose images and wheels nobody looks into."""
    folder = tmp_path / "making" / "yeedu-prefect-0.10.1"
    (folder / "wheels").mkdir(parents=True)
    git(origin, "checkout", "--quiet", "v0.10.1")
    git(origin, "bundle", "create", "--quiet", str(folder / CHECKOUT), "HEAD", "v0.10.1")
    (folder / "images.tar.gz").write_bytes(b"images" * 1000)
    (folder / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    file = tmp_path / "bundle.tar"
    pack(folder, replace(CONTENTS, version="0.10.1"), file)
    subprocess.run(["tar", "-xf", file], cwd=tmp_path, check=True)
    return tmp_path / "yeedu-prefect-0.10.1"


def test_its_release_is_found_merged_and_taken(unpacked: Path, checkout: Path, tmp_path: Path) -> None:
    commit(checkout, {"flows/mine.py": "mine\n"})
    old, kept = git(checkout, "rev-parse", "HEAD"), tmp_path / "upgrade"
    assert find(Git(checkout), "", unpacked) == "0.10.1"
    release = clone(Git(checkout), "0.10.1", kept / "release")
    assert release.version == "0.10.1"
    assert (release.folder / "flows" / "mine.py").read_text() == "mine\n"
    assert (release.folder / "docker-compose.yaml").read_text() == of_version("0.10.1")
    bundles.lend(str(unpacked), release.folder)
    lent = bundle_of(release.folder)
    assert lent
    lent.check()
    record_of(lent, release.folder / ".local").parent.mkdir()
    record_of(lent, release.folder / ".local").write_text('{"server": "sha256:1"}')  # as the trial leaves it
    Git(checkout).put(release.commit, old)
    bundles.take(str(unpacked), checkout, kept)
    taken = bundle_of(checkout)
    assert taken
    taken.check()
    assert record_of(taken, checkout / ".local").read_text() == '{"server": "sha256:1"}'
    linked = (checkout / ".bundle" / "images.tar.gz").stat().st_ino
    assert linked == (unpacked / "images.tar.gz").stat().st_ino, "no room is taken twice"
    assert (checkout / "flows" / "mine.py").exists()
    assert install(unpacked, "another").returncode == 0, "the bundle is as it was unpacked"


def test_a_damaged_one_is_refused_before_anything_of_it_is_used(unpacked: Path, checkout: Path) -> None:
    damage(unpacked / "images.tar.gz")
    before = state(checkout)
    with pytest.raises(CommandError, match=r"images\.tar\.gz is damaged: unpack the bundle again"):
        find(Git(checkout), "", unpacked)
    assert state(checkout) == before
    assert "refs/upgrade" not in git(checkout, "for-each-ref")


def test_one_on_a_medium_that_is_only_read_can_be_taken_and_deleted(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _no_link)
    for folder in (unpacked / "wheels", unpacked):
        folder.chmod(0o555)
    root, kept = tmp_path / "root", tmp_path / "kept"
    root.mkdir()
    kept.mkdir()
    bundles.take(str(unpacked), root, kept)
    assert {folder.stat().st_mode & 0o777 for folder in (root / ".bundle", root / ".bundle" / "wheels")} == {
        0o755
    }
    Bundle.read(root / ".bundle").check()
    for folder in (unpacked, unpacked / "wheels"):
        folder.chmod(0o755)


def test_room_for_its_copy_is_asked_for_where_it_cannot_be_linked(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "shutil", _FullDisk)
    (tmp_path / "release").mkdir()
    bundles.lend(str(unpacked), tmp_path / "release")
    assert [file.name for file in (tmp_path / "release").iterdir()] == [".bundle"]
    monkeypatch.setattr(os, "link", _no_link)
    with pytest.raises(CommandError, match=r"release has 0 MB free, and the bundle takes 0 MB there; free"):
        bundles.lend(str(unpacked), tmp_path / "release")


class _FullDisk:
    free = 0

    @classmethod
    def disk_usage(cls, _: Path) -> "type[_FullDisk]":
        return cls


def _no_link(*_: object) -> None:
    raise OSError


@pytest.mark.parametrize("knows_digest", [True, False])
def test_what_was_loaded_is_kept_out_of_it_and_a_digest_is_no_name(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows_digest: bool
) -> None:
    asked: list[tuple[str, ...]] = []

    def docker(*arguments: str) -> str:
        asked.append(arguments)
        return "amd64"

    def ids(names: dict[str, str]) -> dict[str, str]:
        return {name: "" if "@" in name and not knows_digest else "sha256:1" for name in names}

    monkeypatch.setattr(images, "_docker", docker)
    monkeypatch.setattr(images, "_ids", ids)
    monkeypatch.setattr(images, "STATE", tmp_path / "state")
    read = Bundle.read(unpacked)
    bundle = replace(read, contents=replace(read.contents, services={"a": "postgres:17", "b": "x:1"}))
    wanted = {"a": "postgres:17@sha256:00", "b": "mine:1"}
    before = {file.name for file in unpacked.rglob("*")}
    if knows_digest:
        load_images(bundle, wanted, Console())
        assert record_of(bundle).parent == tmp_path / "state"
        assert record_of(bundle).exists()
    else:
        with pytest.raises(CommandError, match=r"name it postgres:17 in \.env, which is the bundle's"):
            load_images(bundle, wanted, Console())
    assert [one[1:] for one in asked if one[0] == "tag"] == [("x:1", "mine:1")]
    assert {file.name for file in unpacked.rglob("*")} == before
    assert SUMS in before
