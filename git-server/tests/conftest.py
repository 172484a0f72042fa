"""Real repositories in every shape that a checkout of this one may have."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from local.script import load_script

GIT_SERVER = Path(__file__).parents[1]
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}

Git = Callable[..., str]


@pytest.fixture(scope="session")
def snapshot() -> ModuleType:
    """The module snapshot.py, which is a script beside a Dockerfile rather than a package."""
    return load_script(GIT_SERVER / "snapshot.py")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own tmp_path is not."""
    path = Path(tempfile.mkdtemp(prefix="git-server-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def git() -> Git:
    """Run git in a folder, apart from the settings of whoever runs the tests; return what it printed."""

    def run(where: Path, *arguments: str) -> str:
        result = subprocess.run(
            ["git", "-C", str(where), *arguments],
            env={"PATH": os.environ["PATH"], **IDENTITY},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"git {' '.join(arguments)}: {result.stderr}"
        return result.stdout.strip()

    return run


@pytest.fixture
def checkout(folder: Path, git: Git) -> Path:
    """A checkout with two commits, an ignored file, and secrets that must stay where they are."""
    path = folder / "checkout"
    (path / "flows").mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch=main")
    (path / ".gitignore").write_text("*.log\n")
    (path / "flows" / "hello.py").write_text("print('one')\n")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message", "One")
    (path / "flows" / "hello.py").write_text("print('two')\n")
    git(path, "commit", "--quiet", "--all", "--message", "Two")
    (path / "run.log").write_text("ignored\n")
    (path / ".env").write_text("PASSWORD=hunter2\n")
    (path / ".env.example").write_text("#PASSWORD=\n")
    return path


@pytest.fixture
def files_of(folder: Path, git: Git) -> Callable[[Path], list[str]]:
    """Clone a published repository as Prefect does, depth 1, and return the names of its files."""

    def clone(target: Path) -> list[str]:
        where = Path(tempfile.mkdtemp(dir=folder))
        git(folder, "clone", "--quiet", "--depth=1", f"file://{target}", str(where))
        return git(where, "ls-files").splitlines()

    return clone
