"""``make bundle``: builds one file from which a machine without a network starts the platform."""

import gzip
import shutil
import subprocess
import tarfile
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from local.bundle.bundle import CHECKOUT, HEAD, INSTALLER, SUMS, WHEELS, Contents, digest, kind_of_machine
from local.console import Console
from local.containers.engine import Project, find_engine
from local.containers.images import images_of, provide_images, without_digest
from local.errors import CommandError
from local.install.packages import further_digest, further_locks, package_index, trusting
from local.install.virtual_environment import PLATFORM_LOCKS, PROGRAMS, WAREHOUSE_LOCK, inherited, install
from local.release.make_release import git
from local.release.version import platform_version
from local.settings.platform import ROOT, Settings

PYTHONS = ("3.11", "3.12", "3.13", "3.14")  # of the machines that local processes may run on
# The C libraries that wheels may require, oldest first; Debian 10 and RHEL 8 have the newest of them.
_LIBRARIES = ("manylinux2014", "manylinux_2_17", "manylinux_2_26", "manylinux_2_27", "manylinux_2_28")


def make_bundle(target: Path | None, pythons: Sequence[str], console: Console, settings: Settings) -> Path:
    """Write a bundle of the current commit, and return its file.

    Args:
        target: The file; by default ``build/yeedu-prefect-VERSION.tar``.
        pythons: The Python versions to include wheels for; by default `PYTHONS`.
        console: Where progress is shown.
        settings: Decide which images and packages are needed.

    Raises:
        CommandError: Something is not committed, Docker is missing, or an image or a wheel is unavailable.
    """
    version, pythons = platform_version(), pythons or PYTHONS
    if wrong := [python for python in pythons if python not in PYTHONS]:
        raise CommandError(f"PYTHONS={' '.join(wrong)}: the platform runs on Python {', '.join(PYTHONS)}")
    name = f"yeedu-prefect-{version}"
    target = target or ROOT / "build" / f"{name}.tar"
    if git(ROOT, "status", "--porcelain"):
        raise CommandError("uncommitted changes would not be in the bundle; commit or stash them first")
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
        raise CommandError("this clone has no history; `git fetch --unshallow` gets it")
    engine = find_engine()
    if not engine.is_usable:
        raise CommandError(f"images are built and saved by Docker, but {engine.description}")
    packages = further_digest(settings)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=".making-") as scratch:
            folder = Path(scratch, name)
            (folder / WHEELS).mkdir(parents=True)
            _put_checkout(folder, version)
            project = Project(settings)
            provide_images(project, settings, console, of_all_profiles=True)
            services = names_to_save(images_of(project))
            machine = _machine(set(services.values()))
            console.step(f"images: saving {len(set(services.values()))}")
            images = save_images(sorted(set(services.values())), folder)
            put_wheels(folder / WHEELS, machine, pythons, console, settings)
            created = datetime.fromisoformat(git(ROOT, "log", "-1", "--format=%cI"))
            commit = git(ROOT, "rev-parse", "HEAD")
            contents = Contents(
                *(version, commit, created.isoformat(), machine, [*pythons], packages, images.name, services)
            )
            console.step("bundle: writing it")
            whole = Path(scratch, target.name)
            pack(folder, contents, whole)
            whole.replace(target)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}") from None
    return target


def pack(folder: Path, contents: Contents, target: Path) -> None:
    """Add the installer, the contents and the checksums to a folder, and pack it reproducibly."""
    (folder / HEAD).write_text(contents.text(), encoding="utf-8")
    shutil.copyfile(ROOT / "deploy" / INSTALLER, folder / INSTALLER)
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != SUMS)
    names = [file.relative_to(folder).as_posix() for file in files]
    sums = "".join(f"{digest(file)}  {name}\n" for file, name in zip(files, names, strict=True))
    (folder / SUMS).write_text(sums, encoding="ascii")
    first = [HEAD, SUMS, INSTALLER]
    when = int(datetime.fromisoformat(contents.created).timestamp())

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = when
        entry.mode = 0o755 if entry.name.endswith(INSTALLER) else 0o644
        return entry

    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in [*first, *(name for name in names if name not in first)]:
            archive.add(folder / name, f"{folder.name}/{name}", filter=plain)


def _put_checkout(folder: Path, version: str) -> None:
    """Write the current commit with all of its history, and the tag of its release if it has one."""
    head = git(ROOT, "rev-parse", "--symbolic-full-name", "HEAD")  # HEAD itself if no branch is checked out
    tagged = git(ROOT, "tag", "--points-at", "HEAD", "--list", f"v{version}").splitlines()
    references = [*dict.fromkeys(["HEAD", head]), *(f"refs/tags/{tag}" for tag in tagged)]
    # With a single thread, the same commits always make the same pack.
    git(ROOT, "-c", "pack.threads=1", "bundle", "create", "--quiet", str(folder / CHECKOUT), *references)


def names_to_save(services: Mapping[str, str]) -> dict[str, str]:
    """Return the names under which services' images can be saved and loaded, and tag the images so.

    Raises:
        CommandError: Docker cannot tag an image that is known by its digest.
    """
    for image in sorted(set(services.values())):
        if image != without_digest(image):
            done = subprocess.run(
                ["docker", "tag", image, without_digest(image)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise CommandError(f"{image} cannot be saved: {done.stderr.strip()}")
    return {service: without_digest(image) for service, image in services.items()}


def _machine(images: Collection[str]) -> str:
    """Return the kind of machine that images are for.

    Raises:
        CommandError: One is missing, or they are for several kinds.
    """
    asked = ["docker", "image", "inspect", "--format", "{{.Architecture}}", *images]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"an image is missing: {done.stderr.strip().splitlines()[-1]}")
    [kind, *others] = sorted(set(done.stdout.split()))
    if others:
        raise CommandError(f"images are for {kind} and for {', '.join(others)}; a bundle is for one of them")
    return kind_of_machine(kind)


def save_images(images: Sequence[str], folder: Path) -> Path:
    """Write images into a file in a folder, compressed with zstd if it is installed, else with gzip.

    Raises:
        CommandError: Docker cannot save them, or they cannot be compressed.
    """
    zstd = shutil.which("zstd")
    target = folder / f"images.tar.{'zst' if zstd else 'gz'}"
    command = ["docker", "save", *images]
    with target.open("xb") as out, subprocess.Popen(command, stdout=subprocess.PIPE) as save:
        try:
            with _compressing(out, zstd) as compressed:
                _copy_without_times(save.stdout or BytesIO(), compressed)
            is_whole = True
        except tarfile.TarError:
            is_whole = False
    if save.returncode or not is_whole:
        raise CommandError("`docker save` failed; see the output above")
    return target


@contextmanager
def _compressing(out: IO[bytes], zstd: str | None) -> Generator[IO[bytes]]:
    if not zstd:
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=out, mtime=0) as compressed:
            yield cast("IO[bytes]", compressed)
        return
    with subprocess.Popen([zstd, "-T0", "--quiet"], stdin=subprocess.PIPE, stdout=out) as process:
        yield process.stdin or BytesIO()
    if process.returncode:
        raise CommandError(
            f"{zstd} failed with code {process.returncode}; is there enough space for the bundle?"
        )


def _copy_without_times(saved: IO[bytes], target: IO[bytes]) -> None:
    """Copy what Docker saves without its times, some of which are the time of saving."""
    with (
        tarfile.open(fileobj=saved, mode="r|") as archive,
        tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as copy,
    ):
        for entry in archive:
            entry.mtime = 0
            copy.addfile(entry, archive.extractfile(entry) if entry.isreg() else None)


def put_wheels(
    folder: Path, machine: str, pythons: Sequence[str], console: Console, settings: Settings
) -> None:
    """Fetch the wheels that local processes install, for each Python version, as locked and by hash.

    Raises:
        CommandError: A wheel is unavailable.
    """
    install(console, settings, for_development=False)  # uv and pip, which fetch them
    locks = ["uv.txt", *PLATFORM_LOCKS, *further_locks(settings)]
    with trusting(settings, PROGRAMS / "python") as certificates, TemporaryDirectory() as scratch:
        environment = {**inherited(), **certificates, **package_index(settings)}
        for python in pythons:
            console.step(f"wheels: for Python {python} on Linux, {machine}")
            for names, is_needed in ((locks, True), ([WAREHOUSE_LOCK], False)):
                lock = Path(scratch, f"{python}.txt")
                _run(_choosing(names, lock, machine, python), environment)
                if _run(_fetching(lock, folder, machine, python), environment, is_needed=is_needed):
                    console.step("wheels: none of Postgres for the warehouse; the platform works without")


def _choosing(locks: Sequence[str], chosen: Path, machine: str, python: str) -> list[str]:
    """Return the command that reduces locks to what one kind of machine installs; pip goes by this one."""
    target = ["--python-version", python, "--python-platform", f"{machine}-{_LIBRARIES[-1]}"]
    how = ["--quiet", "--no-header", "--no-annotate", "--no-deps", "--generate-hashes", *target]
    return [
        str(PROGRAMS / "uv"),
        "pip",
        "compile",
        *how,
        "--output-file",
        str(chosen),
        *(f"requirements/{lock}" for lock in locks),
    ]


def _fetching(lock: Path, folder: Path, machine: str, python: str) -> list[str]:
    platforms = [
        argument for library in reversed(_LIBRARIES) for argument in ("--platform", f"{library}_{machine}")
    ]
    how = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    what = [*platforms, "--python-version", python, "--implementation", "cp", "--requirement", str(lock)]
    return [str(PROGRAMS / "python"), "-m", "pip", "download", *how, "--dest", str(folder), *what]


def _run(command: Sequence[str], environment: Mapping[str, str], *, is_needed: bool = True) -> int:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and is_needed:
        lines = [line for line in (done.stdout + done.stderr).strip().splitlines() if line.strip()]
        raise CommandError(f"wheels cannot be fetched: {lines[-1] if lines else done.returncode}")
    return done.returncode
