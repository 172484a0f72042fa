"""git-server: what somebody who reaches it may read of a checkout."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

GIT_SERVER = Path(__file__).parents[2] / "git-server"
APART = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
ADA = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]


def git(where: Path, *arguments: str) -> str:
    """Run git apart from the settings of whoever runs the tests."""
    command = ["git", "-C", str(where), *ADA, *arguments]
    environment = {"PATH": os.environ["PATH"], **APART}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"git {' '.join(arguments)}: {result.stderr}"
    return result.stdout.strip()


@pytest.fixture(scope="session")
def snapshot() -> ModuleType:
    """The module snapshot.py, which is a script beside a Dockerfile rather than a package."""
    spec = importlib.util.spec_from_file_location("abused_snapshot", GIT_SERVER / "snapshot.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


LEFT_LYING = [
    *(
        "yeedu-password",
        "id_rsa",
        "prod.env",
        ".envrc",
        ".ENV",
        ".env",
        ".env.local",
        "flows/.env",
        "flows/id_rsa",
    ),
    *("flows/prod.env", "flows/.ENV", "flows/notes", "notes.txt"),
]


@pytest.mark.tries("reads files of a checkout that were never committed")
@pytest.mark.parametrize(
    "shape", ["downloaded archive", "no commit yet", "commits", "commits of another owner"]
)
def test_a_clone_has_nothing_that_only_lies_there(snapshot: ModuleType, tmp_path: Path, shape: str) -> None:
    checkout, served = tmp_path / "checkout", tmp_path / "flows.git"
    (checkout / "flows").mkdir(parents=True)
    (checkout / "flows" / "flow.py").touch()
    if shape != "downloaded archive":
        git(checkout, "init", "--quiet", "--initial-branch=main")
        git(checkout, "add", "flows/flow.py")
    if shape.startswith("commits"):
        git(checkout, "commit", "--quiet", "--message", "One")
    for name in LEFT_LYING:
        (checkout / name).write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    if shape != "downloaded archive":
        git(checkout, "add", "--force", "yeedu-password", "flows/notes")  # and still not committed
    if shape == "commits of another owner":
        snapshot.take_snapshot(checkout, served)  # as for local processes
    else:
        snapshot.publish(checkout, served)
    git(tmp_path, "clone", "--quiet", f"file://{served}", "clone")
    assert git(tmp_path / "clone", "ls-files") == "flows/flow.py"
