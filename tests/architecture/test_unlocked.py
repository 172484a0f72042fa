"""A rebuild that would take other versions than those which are locked fails, and says for which package."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "server.txt"
# As they are for a shell: a line that ends in a backslash goes on.
COMMANDS = {
    f"{file.parent.name}: {command}": command
    for file in sorted(ROOT.glob("*/Dockerfile"))
    for line in file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    for command in re.findall(r"\bpip install [^&;]*", line)
}


def without_hashes(lock: str) -> str:
    return re.sub(r"(?m) \\\n    --hash=\S+", "", lock, count=20)


def of_another_version(lock: str) -> str:
    """Name the version that came out since, with the hashes of the one that was locked."""
    return lock.replace("\nprefect==", "\nprefect>=", 1)


def without_a_dependency(lock: str) -> str:
    """Leave one out that others need, as a list that nobody compiled does."""
    return re.sub(r"(?ms)^pydantic-core==.*?^(?=[a-z])", "", lock)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_installation_of_an_image_is_from_a_lock_or_from_this_repository(command: str) -> None:
    assert ("--require-hashes" in command) != ("--no-deps" in command), command


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (without_hashes, r"all requirements must have a hash"),
        (
            of_another_version,
            r"all requirements must have their versions pinned with `==`, but found: prefect>=",
        ),
        (without_a_dependency, r"pydantic-core"),
    ],
)
def test_an_installation_without_a_lock_fails_loudly(
    tmp_path: Path, changed: Callable[[str], str], said: str
) -> None:
    text = LOCK.read_text(encoding="utf-8")
    lock = tmp_path / "server.txt"
    lock.write_text(changed(text), encoding="utf-8")
    assert lock.read_text(encoding="utf-8") != text
    subprocess.run([ROOT / ".venv/bin/uv", "venv", "--quiet", tmp_path / "venv"], check=True)
    done = subprocess.run(
        [
            *(ROOT / ".venv/bin/uv", "pip", "install", "--dry-run", "--python", tmp_path / "venv"),
            *("--require-hashes", "--requirements", lock),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    assert re.search(said, " ".join(done.stderr.split())), done.stderr
