"""The files that repeat the platform's version: `stamp` writes it there and into ``VERSION``."""

import re
from collections.abc import Iterator
from pathlib import Path

from local.settings.platform import ROOT

_NUMBER = r"(?:0|[1-9]\d*)"
_VERSION = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
# The second group of each pattern is the version. Neither Compose nor uv reads a default from a file.
_PLACES = (
    ("docker-compose*.yaml", r"(\$\{PLATFORM_VERSION:-)([^}]*)"),
    (".env.example", r"(?m)^(#PLATFORM_VERSION=)(.*)$"),
    ("*/pyproject.toml", r'(?m)^(version = ")([^"]*)'),
    ("*/*/pyproject.toml", r'(?m)^(version = ")([^"]*)'),
    ("deploy/kubernetes/*/Chart.yaml", r"(?m)^((?:v|appV)ersion: )(\S+)"),
    (
        "deploy/kubernetes/prefect-charts/*.yaml",
        rf"(prefectTag: |PLATFORM_VERSION, value: |yeedu-prefect-server:)({_VERSION})",
    ),
    ("docs/*.md", rf"(yeedu-prefect-[a-z-]+:)({_VERSION})"),
    ("docs/*.md", rf"(yeedu-prefect-)({_VERSION})(?=\.tar|/)"),  # a bundle
)


def stated(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield each place that repeats the version: its file, and the version stated there."""
    for file, pattern in _files(root):
        for found in re.finditer(pattern, file.read_text(encoding="utf-8")):
            yield file, found[2]


def stamp(version: str, root: Path = ROOT) -> list[Path]:
    """Write a version into ``VERSION`` and everywhere else, and return the changed files."""
    changed = {root / "VERSION": f"{version}\n"}
    for file, pattern in _files(root):
        before = file.read_text(encoding="utf-8")
        after = re.sub(pattern, rf"\g<1>{version}", before)
        if after != before:
            changed[file] = after
    for file, text in changed.items():
        file.write_text(text, encoding="utf-8", newline="\n")
    return list(changed)


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    for name, pattern in _PLACES:
        yield from ((file, pattern) for file in sorted(root.glob(name)))
