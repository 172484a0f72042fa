"""The rules of the house that a linter does not know."""

import re
import subprocess
from pathlib import Path

import pytest

from attach.requirement_locks import further_locks
from local.release.changelog import newest
from local.release.version import platform_version
from local.release.version_files import stated

ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / name
    for name in subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    ).splitlines()
    if (ROOT / name).is_file()
]
PYTHON = [file for file in FILES if file.suffix == ".py"]
SOURCES = [file for file in PYTHON if "tests" not in file.relative_to(ROOT).parts]
LOCKS = sorted((ROOT / "requirements").rglob("*.txt"))
EXTRAS = sorted((ROOT / "requirements" / "extras").glob("*.in"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_module_is_short_enough_to_read(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").count("\n")
    assert lines <= 300, f"{lines} lines"
    assert file.stem not in {"utils", "helpers", "misc", "common"}


def test_no_test_sets_the_clock_of_its_whole_process() -> None:
    """An event loop that saw a later time sleeps until then: give one module another `time`."""
    clocks = re.compile(r"""setattr\((?:[\w.]+\.)?time,|setattr\(["']time\.""")
    assert [name_of(file) for file in PYTHON if clocks.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("file", LOCKS, ids=name_of)
def test_lock_pins_every_package_with_its_hashes(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    packages = re.findall(r"(?m)^([a-z0-9][^ \n]*)(?:==| @ )", text)
    assert packages or file.name == "flows.txt"
    assert len(re.findall(r"(?m)^[a-z0-9].* \\\n    --hash=sha256:", text)) == len(packages)


def test_pip_is_given_no_lock_but_uvs_own() -> None:
    """Many a pip refuses the others for `sqlalchemy[asyncio]`, unless it is to resolve nothing."""
    install = r'(?<!uv )(?<!uv" )\bpip3? (?:install|download)\b'  # not uv's
    given = re.compile(install + r"[^\n`]*requirements[/\\](?!uv\.txt)[^\n`]*")
    found = [
        (name_of(file), line)
        for file in FILES
        if file.suffix in {".md", ".sh", ".yml", ".yaml", ".py", ".ps1", ""} and "tests" not in file.parts
        for line in given.findall(file.read_text(encoding="utf-8"))
    ]
    assert [(name, line) for name, line in found if "--no-deps" not in line] == []
    assert found, "the pages have one that resolves nothing"


def test_locks_agree_on_every_version() -> None:
    versions: dict[str, set[str]] = {}
    for file in LOCKS:
        if file.name == "audit.txt":
            continue  # tools in an environment of their own
        for name, version in re.findall(r"(?m)^([a-z0-9._-]+)(?:\[.*\])?==([^ ]+)", file.read_text()):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_every_extra_and_the_flows_list_are_locked() -> None:
    names = [file.stem for file in EXTRAS]
    assert "etl" in names
    locks = further_locks(ROOT, ",".join(names))
    assert [lock.stem for lock in locks[: len(names)]] == names


def test_every_pin_has_its_reason() -> None:
    lines = (ROOT / "requirements" / "constraints.in").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    for pin in pins:
        assert re.search(r"[=<>].* # .{8,}", pin), pin


def test_no_file_names_a_package_registrys_host() -> None:
    hosts = re.compile(r"|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(org|com)"]))
    named = [
        name_of(file) for file in FILES if hosts.search(file.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert named == []


def test_one_version_is_said_everywhere() -> None:
    """`make release` writes it; where Compose, uv and the pages repeat it, nobody else does."""
    version, said = platform_version(), list(stated())
    assert {(name_of(file), found) for file, found in said if found != version} == set()
    files = {name_of(file) for file, _ in said}
    assert files >= {name_of(file) for file in FILES if file.name == "pyproject.toml" and file.parent != ROOT}
    assert files >= {"docker-compose.images.yaml", ".env.example", "docs/workers.md"}
    repeated = re.compile(rf"(?<![\d.]){re.escape(version)}(?![\d.])")
    texts = {
        name_of(file): file.read_text(encoding="utf-8")
        for file in FILES
        if file.suffix in {".yaml", ".toml", ".example"}
    }
    unwritten = {
        name: len(repeated.findall(text)) - sum(1 for file, _ in said if name_of(file) == name)
        for name, text in texts.items()
    }
    assert {name for name, times in unwritten.items() if times} == set()


def test_changelog_has_the_version_or_what_comes_next() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"(?m)^## \[?([^\] ]+)\]?", text).group(1) in {platform_version(), "Unreleased"}  # type: ignore[union-attr]
    assert newest(text) in {"", platform_version()}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z][a-z-]*)", README))))
def test_make_target_of_the_readme_exists_and_is_explained(target: str) -> None:
    assert re.search(rf"(?m)^{target}:.*## \S", MAKEFILE), f"make {target}"


def test_links_of_the_readme_and_the_docs_lead_somewhere() -> None:
    for page in [*ROOT.glob("docs/*.md"), *(file for file in FILES if file.name == "README.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http://", "https://")):
                assert (page.parent / link).exists(), f"{name_of(page)}: {link}"
