"""A bundle on disk: everything that an installation without a network needs, verified before use.

``make bundle`` writes it (`local.bundle.build`); its ``install.sh`` makes a checkout that contains it.
"""

import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local.backup.archive import digest
from local.errors import CommandError
from local.release.version import numbers, platform_version
from local.settings.platform import ROOT

FOLDER = ".bundle"  # of a checkout
HEAD = "bundle.json"
SUMS = "SHA256SUMS"
WHEELS = "wheels"
CHECKOUT = "checkout.bundle"
INSTALLER = "install.sh"
FORMAT = 1
_LINE = re.compile(r"([0-9a-f]{64})  ((?:[\w.+-]+/)?[\w.+-]+)", re.ASCII)


@dataclass(frozen=True)
class Contents:
    """What a bundle holds.

    Attributes:
        version: The platform's version.
        commit: The commit that it was made from.
        created: The time of that commit, in ISO form.
        machine: The kind of machine that images and wheels are for, such as ``x86_64``.
        pythons: The Python versions that wheels are for, such as ``3.13``.
        packages: The digest of flows' further packages (`local.install.packages.further_digest`).
        images: The file of all images.
        services: The name of each service's image in that file.
        format: The version of the bundle's format.
    """

    version: str
    commit: str
    created: str
    machine: str
    pythons: list[str]
    packages: str
    images: str
    services: Mapping[str, str]
    format: int = FORMAT

    def text(self) -> str:
        """Return the text of the file `HEAD`."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A bundle in a folder, of which only the list of contents is verified."""

    folder: Path
    contents: Contents
    sums: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Bundle":
        """Read a bundle's list of contents.

        Raises:
            CommandError: There is no bundle, it has another format, or it is damaged.
        """
        sums = _sums(folder)
        _check(folder, sums, [HEAD])
        try:
            fields: dict[str, Any] = json.loads((folder / HEAD).read_text(encoding="utf-8"))
            if fields.get("format") != FORMAT:
                raise CommandError(
                    f"{folder}: bundles of format {fields.get('format')} cannot be read by this checkout; "
                    f"install it with its own {INSTALLER}"
                )
            contents = Contents(**fields)
            numbers(contents.version)
        except (ValueError, TypeError, AttributeError):
            raise CommandError(
                f"{folder} is not a bundle of this platform: `make bundle` makes one"
            ) from None
        return cls(folder, contents, sums)

    def check(self, names: Iterable[str] = ()) -> None:
        """Compare files with their checksums.

        Args:
            names: The files to check; by default all.

        Raises:
            CommandError: A file is missing, differs from what was written, or is not part of the bundle.
        """
        _check(self.folder, self.sums, list(names) or self.sums)

    def find_links(self, packages: str) -> list[str]:
        """Verify the bundle's wheels, and return the arguments that make pip and uv install only from them.

        Args:
            packages: The digest of the further packages that flows need here.

        Raises:
            CommandError: The wheels are for other machines, versions of Python or packages, or damaged.
        """
        self.check_packages(packages)
        self._check_machine(platform.machine() if sys.platform == "linux" else sys.platform)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        if python not in self.contents.pythons:
            raise CommandError(
                f"the bundle has wheels for Python {', '.join(self.contents.pythons)}, and this is {python}; "
                "use one of them: make up PYTHON=python3.13"
            )
        self.check(name for name in self.sums if name.startswith(f"{WHEELS}/"))
        return ["--no-index", "--find-links", str(self.folder / WHEELS)]

    def check_packages(self, packages: str) -> None:
        """Refuse a bundle that lacks what flows need here.

        Raises:
            CommandError: It was made with other packages.
        """
        if packages != self.contents.packages:
            raise CommandError(
                "the bundle was made with another WORKER_EXTRAS or another list of packages for flows; make "
                f"one with these settings, or delete {FOLDER} to install and build from an index"
            )

    def checked_images(self, machine: str) -> Path:
        """Verify the file of all images, and return it.

        Args:
            machine: The kind of machine that Docker runs on.

        Raises:
            CommandError: They are for another kind, or damaged.
        """
        self._check_machine(machine)
        self.check([self.contents.images])
        return self.folder / self.contents.images

    def _check_machine(self, machine: str) -> None:
        here = kind_of_machine(machine)
        if here != self.contents.machine:
            raise CommandError(f"the bundle is for {self.contents.machine}, and this machine is {here}")


def bundle_of(root: Path = ROOT) -> Bundle | None:
    """Return the bundle that a checkout was installed from; ``None`` for one that was cloned from elsewhere.

    Raises:
        CommandError: It is damaged, or of another version than the checkout.
    """
    if not has_bundle(root):
        return None
    bundle = Bundle.read(root / FOLDER)
    if bundle.contents.version != (own := platform_version(root)):
        raise CommandError(
            f"{FOLDER} is the bundle of {bundle.contents.version}, and this checkout is {own}; "
            f"take that version's bundle, or delete {FOLDER} to install and build from an index"
        )
    return bundle


def has_bundle(root: Path = ROOT) -> bool:
    """Tell whether a checkout was installed from a bundle."""
    return (root / FOLDER).is_dir()


def kind_of_machine(name: str) -> str:
    """Return the name by which the kernel and wheels know a kind of machine, given theirs or Docker's."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def _sums(folder: Path) -> dict[str, str]:
    """Read the list of checksums, in the format of ``sha256sum``."""
    try:
        lines = (folder / SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        raise CommandError(f"{folder} is not a bundle of this platform: its {SUMS} cannot be read") from None
    found = [_LINE.fullmatch(line) for line in lines]
    sums = {one[2]: one[1] for one in found if one}
    if len(sums) != len(lines) or HEAD not in sums:
        raise CommandError(f"{folder} is not a bundle of this platform: its {SUMS} is none")
    return sums


def _check(folder: Path, sums: Mapping[str, str], names: Iterable[str]) -> None:
    for name in names:
        try:
            is_as_written = digest(folder / name) == sums.get(name)
        except OSError as error:
            raise CommandError(f"{folder / name}: {error.strerror}; unpack the bundle again") from None
        if not is_as_written:
            raise CommandError(f"{folder / name} is damaged: unpack the bundle again, or fetch it again")
