"""The corpus: each prefect.yaml with the git repository that it is about, and what it takes to be there."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import prefect.deployments
import yaml

HERE = Path(__file__).parent
CORPUS = HERE / "prefect_files"
COMMON_FLOWS = HERE / "flows_repo"
HOST = "https://git.example.com/acme/"
POOL = "process-pool"
SSH_HOST = "git@git.example.com:acme/"
TOKEN = "canary-of-the-git-token"
COMMIT = "COMMIT_SHA"
RECIPES = ("git", "local", "docker", "docker-git")
RUNNABLE = ("wheel_template", "wheel_git")


@dataclass(frozen=True)
class Setup:
    """What is on both servers, and in the environment, before a file is deployed.

    Attributes:
        pools: Types of work pools, by name; there is always one of the type process, `process-pool`.
        variables: Prefect variables.
        blocks: Fields of blocks, by `type/name`.
        environment: Variables of the deploying process and of the flow runs.
        branches: Branches of the repository, each with its name in the file REVISION, as `main` has it.
        tags: Tags of the same kind.
        files: Further files of the repository, such as one that is no Python.
        submodules: Folders of the repository, each with the case's other repository that belongs there.
        folder: Of the repository, where the file is and stock is run.
        is_run: Whether its deployments can run here.
        written_with: `crlf` or `bom`, for a file as some editors write it.
    """

    pools: dict[str, str] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    branches: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    submodules: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    is_run: bool = True
    written_with: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """One item under `deployments`: its name, the lines that it stands in, and its entrypoint."""

    name: object
    first: int
    last: int
    entrypoint: str = ""

    def __str__(self) -> str:
        return f"{self.name!r} (line {self.first})"


@dataclass(frozen=True)
class Case:
    """One prefect.yaml of the corpus.

    Attributes:
        name: Its folder's name.
        text: The file, byte for byte.
        files: Folders whose files are its repository's, the later over the earlier.
        others: Further repositories, by name.
    """

    name: str
    text: bytes
    setup: Setup
    files: tuple[Path, ...]
    others: dict[str, Path] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{HOST}{self.name}.git"

    @cached_property
    def data(self) -> Any:
        """What YAML makes of it, or None where it is none."""
        try:
            return yaml.safe_load(self.text.decode("utf-8-sig"))
        except yaml.YAMLError:
            return None

    @cached_property
    def entries(self) -> list[Entry]:
        """Its deployments; none where the file as a whole cannot be read."""
        declared = (self.data or {}).get("deployments") if isinstance(self.data, dict) else None
        if not isinstance(declared, list):
            return []
        node = yaml.compose(self.text.decode("utf-8-sig"))
        items = next(value for key, value in node.value if key.value == "deployments").value
        told = [one if isinstance(one, dict) else {} for one in declared]
        return [
            Entry(_hashable(one.get("name")), *_lines(item), str(one.get("entrypoint")))
            for one, item in zip(told, items, strict=True)
        ]


def _hashable(name: object) -> object:
    return name if isinstance(name, str | int | float | None) else repr(name)


def _lines(node: yaml.Node) -> tuple[int, int]:
    last = node.end_mark.line + (1 if node.end_mark.column else 0)
    return node.start_mark.line + 1, max(node.start_mark.line + 1, last)


def corpus() -> dict[str, Case]:
    """Read every case's folder."""
    folders = [folder for folder in sorted(CORPUS.iterdir()) if folder.joinpath("prefect.yaml").exists()]
    return {folder.name: _read(folder) for folder in folders} | of_wheel()


def of_wheel() -> dict[str, Case]:
    """Prefect's own template and recipes, as its wheel brings them, with the blanks filled in.

    Those that push code to a cloud's storage are left out: stock would call that cloud.
    """
    folder = Path(prefect.deployments.__file__).parent
    files = {"wheel_template": folder / "templates" / "prefect.yaml"}
    for recipe in RECIPES:
        files[f"wheel_{recipe.replace('-', '_')}"] = folder / "recipes" / recipe / "prefect.yaml"
    return {
        name: Case(name, _filled_in(file, name), Setup(is_run=name in RUNNABLE), (COMMON_FLOWS,))
        for name, file in files.items()
    }


def _filled_in(file: Path, name: str) -> bytes:
    head, deployments = file.read_text(encoding="utf-8").split("deployments:", 1)
    for blank, value in {
        "repository": f"{HOST}{name}.git",
        "branch": "main",
        "directory": "/srv/flows",
        "name": "shop",
        "image_name": "shop",
        "tag": "latest",
        "dockerfile": "auto",
    }.items():
        head = head.replace(f"{{{{ {blank} }}}}", value)
    deployments = deployments.replace("name: null", f"name: {name}", 1)  # the second one is the pool's
    deployments = deployments.replace("\n      name: null", f"\n      name: {POOL}", 1)
    deployments = deployments.replace("entrypoint: null", "entrypoint: flows/orders.py:orders", 1)
    return f"{head}deployments:{deployments}".encode()


def _read(folder: Path) -> Case:
    file = folder / "setup.yaml"
    setup = Setup(**yaml.safe_load(file.read_text(encoding="utf-8"))) if file.exists() else Setup()
    own = folder / "repo"
    return Case(
        folder.name,
        _written(folder / "prefect.yaml", setup.written_with),
        setup,
        (COMMON_FLOWS, own) if own.exists() else (COMMON_FLOWS,),
        {other.name.removeprefix("repo-"): other for other in folder.glob("repo-*")},
    )


def _written(file: Path, ways: list[str]) -> bytes:
    text = file.read_bytes()
    if "crlf" in ways:
        text = text.replace(b"\n", b"\r\n")
    return b"\xef\xbb\xbf" + text if "bom" in ways else text


@dataclass(frozen=True)
class Workspace:
    """Where a case was laid out.

    Attributes:
        checkout: The folder of the prefect.yaml in a clone of its repository: where stock is run.
        config: A folder with nothing but the prefect.yaml: where the deployer is run.
        environment: What both are given.
    """

    checkout: Path
    config: Path
    environment: dict[str, str]


class Workshop:
    """Lays cases out below a folder, and makes git find their repositories there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.repositories = folder / "git"
        self.environment = {
            **_git_config(
                {
                    # For two spellings of one place, and for a login in the address.
                    f"url.{self.repositories.as_uri()}/.insteadOf": HOST,
                    f"url.{self.repositories.as_uri()}/./.insteadOf": SSH_HOST,
                    f"url.{self.repositories.as_uri()}/././.insteadOf": f"https://{TOKEN}@git.example.com/acme/",
                    "protocol.file.allow": "always",
                    "user.name": "Test",
                    "user.email": "test@example.com",
                    "init.defaultBranch": "main",
                    "core.autocrlf": "false",
                }
            ),
            # Nothing is fetched from a package index, whatever a step asks for.
            "PIP_NO_INDEX": "1",
            "UV_OFFLINE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def lay_out(self, case: Case) -> Workspace:
        """Make the case's repositories, and the folders in which it is deployed."""
        for name, files in case.others.items():
            self._commit(f"{case.name}-{name}", (files,), {})
        files = {name: text.encode() for name, text in case.setup.files.items()}
        files |= {"REVISION": b"main\n", f"{case.setup.folder}/prefect.yaml".lstrip("/"): case.text}
        repository = self._commit(case.name, case.files, files)
        for path, name in case.setup.submodules.items():
            self._git(repository, "submodule", "--quiet", "add", f"{HOST}{case.name}-{name}.git", path)
            self._git(repository, "commit", "--quiet", "--message", "Add a submodule")
        for name in (*case.setup.branches, *case.setup.tags):
            self._git(repository, "checkout", "--quiet", "-b", f"of-{name}", "main")
            repository.joinpath("REVISION").write_text(f"{name}\n", encoding="utf-8")
            self._git(repository, "commit", "--quiet", "--all", "--message", "Change")
            self._git(repository, "branch" if name in case.setup.branches else "tag", name)
            self._git(repository, "checkout", "--quiet", "main")
        checkout = self._folder / "checkouts" / case.name
        self._git(self._folder, "clone", "--quiet", "--recurse-submodules", case.url, str(checkout))
        commit = self._git(repository, "rev-parse", "main").strip()
        config = self._folder / "configs" / case.name
        config.mkdir(parents=True)
        config.joinpath("prefect.yaml").write_bytes(case.text)
        environment = {
            "FLOWS_GIT_URL": case.url,
            COMMIT: commit,
            **case.setup.environment,
        }
        return Workspace(checkout / case.setup.folder, config, environment)

    def _commit(self, name: str, folders: tuple[Path, ...], files: dict[str, bytes]) -> Path:
        repository = self.repositories / f"{name}.git"
        repository.mkdir(parents=True)
        for folder in folders:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(folder, repository, dirs_exist_ok=True, ignore=ignored)
        for path, content in files.items():
            repository.joinpath(path).write_bytes(content)
        self._git(repository, "init", "--quiet")
        self._git(repository, "add", "--all")
        self._git(repository, "commit", "--quiet", "--message", "Begin")
        return repository

    def _git(self, folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stderr
        return done.stdout


def _git_config(values: dict[str, str]) -> dict[str, str]:
    variables = {"GIT_CONFIG_COUNT": str(len(values))}
    for number, (key, value) in enumerate(values.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables
