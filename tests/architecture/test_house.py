"""The rules of the house that a linter does not know."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

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
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

# These modules of the operator decide, and move no bytes: they reach no network library, however indirectly.
WITHOUT_INPUT_OUTPUT = ("errors", "models", "urls", "kernel_protocol", "notebook_document")


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def imports_of(file: Path) -> set[str]:
    """Return the dotted names that a file imports when it runs; relative imports are not used here."""
    found: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(file)}: relative import"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_of(file: Path) -> str:
    source = ROOT / "yeedu-operator" / "src"
    return ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


OPERATOR = {module_of(file): imports_of(file) for file in SOURCES if "yeedu-operator/src" in name_of(file)}
PUBLIC_FACES = {"prefect_yeedu", "operators", "operators.yeedu"}


def reaches(module: str) -> set[str]:
    """Return every name that a module of the operator imports, directly or through other modules of it."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for name in OPERATOR.get(waiting.pop(), set()) - found:
            found.add(name)
            if name in OPERATOR and name not in PUBLIC_FACES:
                waiting.append(name)
    return found


def imports_any(names: set[str], *packages: str) -> bool:
    return any(name.partition(".")[0] in packages for name in names)


@pytest.mark.parametrize("module", sorted(OPERATOR))
def test_operator_has_no_import_cycle(module: str) -> None:
    assert module not in reaches(module)


def test_running_jobs_and_notebooks_needs_no_prefect() -> None:
    assert "prefect_yeedu.remote_run" in reaches("prefect_yeedu.execution")
    assert not imports_any(reaches("prefect_yeedu.execution"), "prefect")


@pytest.mark.parametrize("name", WITHOUT_INPUT_OUTPUT)
def test_what_decides_moves_no_bytes(name: str) -> None:
    [module] = [module for module in OPERATOR if module.rpartition(".")[2] == name]
    assert not imports_any(reaches(module), "requests", "websocket", "prefect", "socket", "urllib3")


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_module_is_short_enough_to_read(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").count("\n")
    assert lines <= 300, f"{lines} lines"
    assert file.stem not in {"utils", "helpers", "misc", "common"}


@pytest.mark.parametrize("file", LOCKS, ids=name_of)
def test_lock_pins_every_package_with_its_hashes(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    packages = re.findall(r"(?m)^([a-z0-9][^ \n]*)==", text)
    assert packages
    assert len(re.findall(r"(?m)^[a-z0-9].* \\\n    --hash=sha256:", text)) == len(packages)


def test_locks_agree_on_every_version() -> None:
    versions: dict[str, set[str]] = {}
    for file in LOCKS:
        for name, version in re.findall(r"(?m)^([a-z0-9._-]+)(?:\[.*\])?==([^ ]+)", file.read_text()):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


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


def test_members_and_changelog_carry_one_version() -> None:
    versions = {
        tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]
        for file in ROOT.glob("*/pyproject.toml")
    }
    assert len(versions) == 1
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"(?m)^## \[?([^\] ]+)\]?", changelog).group(1) in {*versions, "Unreleased"}  # type: ignore[union-attr]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z][a-z-]*)", README))))
def test_make_target_of_the_readme_exists_and_is_explained(target: str) -> None:
    assert re.search(rf"(?m)^{target}:.*## \S", MAKEFILE), f"make {target}"


def test_links_of_the_readme_and_the_docs_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http://", "https://")):
                assert (page.parent / link).exists(), f"{name_of(page)}: {link}"
