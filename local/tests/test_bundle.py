"""Bundles: what is in one, how it is installed, and that nothing of a damaged or foreign one is used."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from local.bundle import build
from local.bundle.build import make_bundle, names_to_save, pack, save_images
from local.bundle.bundle import FOLDER, SUMS, Bundle, Contents, bundle_of, digest
from local.console import Console
from local.containers import images
from local.containers.images import load_images
from local.errors import CommandError
from local.release.make_release import git
from local.settings.platform import Settings

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CONTENTS = Contents(
    version="1.2.3",
    commit="0" * 40,
    created="2026-01-31T12:00:00+01:00",
    machine="x86_64",
    pythons=[PYTHON],
    packages="of-flows",
    images="images.tar.gz",
    services={"worker": "yeedu-prefect-worker:1.2.3"},
)
MEMBERS = (
    "bundle.json",
    SUMS,
    "install.sh",
    "checkout.bundle",
    "images.tar.gz",
    "wheels/a-1-py3-none-any.whl",
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "VERSION").write_text("1.2.3\n")
    git(root, "init", "--quiet", "--initial-branch=trunk")
    git(root, "add", "--all")
    author = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
    git(root, *author, "commit", "--quiet", "--message=Start")
    return root


@pytest.fixture
def made(tmp_path: Path, repository: Path) -> Path:
    """A bundle with a checkout that can be cloned, and with images and wheels that nobody looks into."""
    folder = tmp_path / "making" / "yeedu-prefect-1.2.3"
    (folder / "wheels").mkdir(parents=True)
    git(repository, "bundle", "create", "--quiet", str(folder / "checkout.bundle"), "HEAD", "trunk")
    (folder / "images.tar.gz").write_bytes(b"images" * 1000)
    (folder / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    target = tmp_path / "yeedu-prefect-1.2.3.tar"
    pack(folder, CONTENTS, target)
    return target


@pytest.fixture
def unpacked(tmp_path: Path, made: Path) -> Path:
    subprocess.run(["tar", "-xf", made], cwd=tmp_path, check=True)
    return tmp_path / "yeedu-prefect-1.2.3"


def install(unpacked: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [unpacked / "install.sh", *arguments],
        cwd=unpacked.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_bundle_is_the_same_whenever_it_is_packed(tmp_path: Path, made: Path, unpacked: Path) -> None:
    folder = tmp_path / "again" / unpacked.name
    shutil.copytree(unpacked, folder)
    (folder / "images.tar.gz").touch()
    (folder / SUMS).unlink()
    pack(folder, CONTENTS, tmp_path / "again.tar")
    assert digest(tmp_path / "again.tar") == digest(made)
    with tarfile.open(made) as archive:
        entries = archive.getmembers()
    assert [entry.name.removeprefix("yeedu-prefect-1.2.3/") for entry in entries] == [*MEMBERS]
    assert {(entry.uid, entry.uname, entry.mtime) for entry in entries} == {(0, "", 1769857200)}


def test_install_makes_a_checkout_that_has_the_bundle(unpacked: Path) -> None:
    done = install(unpacked)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "yeedu-prefect is 1.2.3. Next: cd yeedu-prefect && make up\n"
    checkout = unpacked.parent / "yeedu-prefect"
    assert git(checkout, "log", "--format=%s") == "Start"
    assert git(checkout, "branch", "--show-current") == "trunk"
    assert git(checkout, "remote") == ""
    bundle = bundle_of(checkout)
    assert bundle
    assert bundle.contents == CONTENTS
    bundle.check()
    assert bundle.find_links("of-flows") == ["--no-index", "--find-links", str(checkout / FOLDER / "wheels")]
    assert bundle.checked_images("amd64") == checkout / FOLDER / "images.tar.gz"


def test_checkout_of_no_branch_gets_one(repository: Path, made: Path, unpacked: Path) -> None:
    git(repository, "bundle", "create", "--quiet", str(unpacked / "checkout.bundle"), "HEAD")
    pack(unpacked, CONTENTS, made)
    assert install(unpacked, "place of mine").returncode == 0
    assert git(unpacked.parent / "place of mine", "branch", "--show-current") == "main"


def damage(file: Path) -> None:
    """Turn one bit of it."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != SUMS])
def test_damaged_member_is_named_and_nothing_is_made(unpacked: Path, name: str) -> None:
    if name == "install.sh":  # it has to run, to tell
        with (unpacked / name).open("a") as script:
            script.write("#\n")
    else:
        damage(unpacked / name)
    done = install(unpacked)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"install.sh: {unpacked} is damaged: {name}: FAILED; unpack it again")
    assert not (unpacked.parent / "yeedu-prefect").exists()
    with pytest.raises(CommandError, match=f"{name} is damaged: unpack the bundle again, or fetch it again"):
        Bundle.read(unpacked).check()


@pytest.mark.parametrize("change", ["missing", "cut", "added", "link", "list"])
def test_files_that_are_not_those_of_the_list_are_refused(unpacked: Path, change: str) -> None:
    wheel = unpacked / "wheels" / "a-1-py3-none-any.whl"
    if change == "missing":
        wheel.unlink()
    elif change == "cut":
        (unpacked / "images.tar.gz").write_bytes(b"im")
    elif change == "added":
        (unpacked / "wheels" / "b-1-py3-none-any.whl").touch()
    elif change == "link":
        (unpacked / "wheels" / "b.whl").symlink_to("/etc/passwd")
    else:
        (unpacked / SUMS).write_text("not a list\n")
    done = install(unpacked)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"install.sh: {unpacked} ")
    assert not (unpacked.parent / "yeedu-prefect").exists()


def test_bundle_that_is_not_whole_and_a_place_that_is_taken_are_told(unpacked: Path) -> None:
    (unpacked.parent / "yeedu-prefect").mkdir()
    assert "yeedu-prefect is there already; name another folder" in install(unpacked).stderr
    (unpacked / "checkout.bundle").unlink()
    assert "is no whole bundle, it has no checkout.bundle" in install(unpacked, "other").stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"packages": "others"}, "made with another WORKER_EXTRAS or another list of packages"),
        ({"machine": "s390x"}, r"^the bundle is for s390x, and this machine is x86_64$"),
        ({"pythons": ["3.9", "3.10"]}, rf"has wheels for Python 3\.9, 3\.10, and this is {PYTHON}; use one"),
    ],
)
def test_wheels_for_another_machine_are_not_used(
    made: Path, unpacked: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], said: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    pack(unpacked, replace(CONTENTS, **changes), made)  # type: ignore[arg-type]
    bundle = Bundle.read(unpacked)
    if not said:
        assert bundle.find_links("of-flows")
        return
    with pytest.raises(CommandError, match=said):
        bundle.find_links("of-flows")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (SUMS, "", "is not a bundle of this platform: its SHA256SUMS is none"),
        (SUMS, f"{'0' * 64}  ../../etc/passwd\n", "is not a bundle of this platform"),
        (SUMS, f"{'0' * 64}  bundle.json\n", "bundle.json is damaged"),
        ("bundle.json", "[1]", "is not a bundle of this platform: `make bundle` makes one"),
        ("bundle.json", "{", "is not a bundle of this platform"),
        ("bundle.json", '{"format": 1}', "is not a bundle of this platform"),
        (
            "bundle.json",
            '{"format": 2, "new": 1}',
            "bundles of format 2 cannot be read by this checkout; install it with its own",
        ),
    ],
)
def test_foreign_folder_is_refused(unpacked: Path, name: str, text: str, said: str) -> None:
    (unpacked / name).write_text(text)
    if name != SUMS:
        (unpacked / SUMS).write_text(f"{digest(unpacked / name)}  {name}\n")
    with pytest.raises(CommandError, match=said):
        Bundle.read(unpacked)


def test_checkout_of_another_version_does_not_use_it(unpacked: Path) -> None:
    install(unpacked)
    checkout = unpacked.parent / "yeedu-prefect"
    (checkout / "VERSION").write_text("1.3.0\n")
    with pytest.raises(
        CommandError, match=r"\.bundle is the bundle of 1\.2\.3, and this checkout is 1\.3\.0; take"
    ):
        bundle_of(checkout)
    shutil.rmtree(checkout / FOLDER)
    assert bundle_of(checkout) is None


def test_what_is_not_committed_or_has_no_history_is_not_bundled(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shallow = repository.parent / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", repository.as_uri(), shallow], check=True)
    (repository / "VERSION").write_text("1.2.4\n")
    for root, said in (
        (repository, "uncommitted changes would not be in"),
        (shallow, "`git fetch --unshallow`"),
    ):
        monkeypatch.setattr(build, "ROOT", root)
        with pytest.raises(CommandError, match=said):
            make_bundle(None, (), Console(), Settings({}))
    with pytest.raises(CommandError, match=r"^PYTHONS=3\.9: the platform runs on Python 3\.11, "):
        make_bundle(None, ("3.13", "3.9"), Console(), Settings({}))


def test_an_image_with_a_digest_is_saved_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what Docker is told to do: a name with a digest is one that a registry has given."""
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n[ "$2" != gone:1@sha256:2 ] || exit 1\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    services = {"postgres": "postgres:17@sha256:1", "warehouse": "postgres:17@sha256:1", "server": "x:1"}
    named = names_to_save(services)
    assert named == {"postgres": "postgres:17", "warehouse": "postgres:17", "server": "x:1"}
    assert (tmp_path / "asked").read_text() == "tag postgres:17@sha256:1 postgres:17\n"
    with pytest.raises(CommandError, match="gone:1@sha256:2 cannot be saved"):
        names_to_save({"postgres": "gone:1@sha256:2"})


@pytest.fixture
def tiny() -> Iterator[str]:
    """An image with one file, under a name of its own."""
    name = f"yeedu-prefect-tiny-{uuid4().hex[:8]}"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    subprocess.run(
        ["docker", "import", "-", f"{name}:1"], input=content.getvalue(), check=True, capture_output=True
    )
    yield name
    for tag in ("1", "wanted"):
        subprocess.run(["docker", "image", "rm", f"{name}:{tag}"], capture_output=True, check=False)


@pytest.mark.docker
@pytest.mark.parametrize("has_zstd", [True, False])
def test_images_are_loaded_once_under_the_names_that_are_wanted(
    tiny: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    has_zstd: bool,
) -> None:
    if not has_zstd:
        monkeypatch.setattr("shutil.which", dict[str, str]().get)
    elif not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    monkeypatch.setattr(images, "STATE", tmp_path / "state")
    file = save_images([f"{tiny}:1"], tmp_path)
    assert file.suffix == (".zst" if has_zstd else ".gz")
    plain = subprocess.check_output(["zstd" if has_zstd else "gzip", "-dc", file])
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert {entry.mtime for entry in archive} == {0}, "as none of Docker's own, and so the same each time"
    (tmp_path / "none").mkdir()
    with pytest.raises(CommandError, match="`docker save` failed"):
        save_images([f"{tiny}:there-is-none"], tmp_path / "none")
    engine = subprocess.check_output(["docker", "version", "--format={{.Server.Arch}}"], text=True).strip()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[engine]
    contents = replace(CONTENTS, machine=machine, images=file.name, services={"worker": f"{tiny}:1"})
    bundle = Bundle(tmp_path, contents, {file.name: digest(file)})
    subprocess.run(["docker", "image", "rm", f"{tiny}:1"], check=True, capture_output=True)

    wanted = {"worker": f"{tiny}:wanted", "own-service": "postgres:17"}

    def load() -> str:
        load_images(bundle, wanted, Console())
        subprocess.run(["docker", "image", "inspect", f"{tiny}:wanted"], check=True, capture_output=True)
        return capsys.readouterr().out

    assert "images: loading the bundle's" in load()
    assert load() == "", "they are there"
    subprocess.run(["docker", "image", "rm", f"{tiny}:wanted"], check=True, capture_output=True)
    assert "images: loading the bundle's" in load()
    damage(file)
    subprocess.run(["docker", "image", "rm", f"{tiny}:wanted"], check=True, capture_output=True)
    with pytest.raises(CommandError, match="is damaged: unpack the bundle again"):
        load_images(bundle, wanted, Console())
    with pytest.raises(CommandError, match="the bundle is for s390x"):
        load_images(replace(bundle, contents=replace(contents, machine="s390x")), wanted, Console())


def test_contents_are_read_as_they_were_written(unpacked: Path) -> None:
    assert Contents(**json.loads(CONTENTS.text())) == CONTENTS
    assert Bundle.read(unpacked).contents == CONTENTS
