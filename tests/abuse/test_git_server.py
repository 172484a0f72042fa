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


@pytest.mark.tries("reads files of a checkout that were never committed")
def test_a_clone_has_what_is_committed_alone(snapshot: ModuleType, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git(checkout, "init", "--quiet", "--initial-branch=main")
    (checkout / "flow.py").touch()
    git(checkout, "add", "flow.py")
    git(checkout, "commit", "--quiet", "--message", "One")
    (checkout / "id_rsa").write_text("a key")
    git(checkout, "add", "id_rsa")  # into the index: its content is among the objects
    snapshot.publish(checkout, tmp_path / "flows.git")
    git(tmp_path, "clone", "--quiet", f"file://{tmp_path / 'flows.git'}", "clone")
    assert git(tmp_path / "clone", "ls-files") == "flow.py"
