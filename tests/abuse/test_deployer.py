"""The deployer: what a hostile prefect.yaml does to whoever reads it."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from yeedu_deployer.declared.schedules import Schedule

# With the memory that the deployer's container has, so that what takes all of it fails here as there.
READ = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_DATA, (512 * 2**20, 512 * 2**20))
from yeedu_deployer.declared.yaml_reader import load
from yeedu_deployer.errors import DeployerError
try:
    load(Path(sys.argv[1]))
except DeployerError as error:
    sys.exit(str(error))
"""


def aliases(levels: int, each: int) -> str:
    """A list of lists of lists, each of which names the one before it several times."""
    lines = ["x-0: &a0 [lol]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * each)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def merges(levels: int, each: int) -> str:
    """The same with mappings that are merged in."""
    lines = ["x-0: &a0 {lol: 1}"]
    lines += [f"x-{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * each)}]}}" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


HOSTILE = {
    "aliases of aliases": (aliases(12, 9), "has more than 200000 values"),
    "merges of merges": (merges(12, 9), "has more than 200000 values"),
    "an anchor that holds itself": ("x-a: &a [*a]\n", "an anchor contains itself"),
    "20,000 lists in each other": ("x-a: " + "[" * 20_000, "nested too deeply"),
    "5,000 mappings in each other": ("x-a: " + "{a: " * 5_000, "nested too deeply"),
    "20,000 dashes": ("x-a:\n" + "- " * 20_000 + "a", "nested too deeply"),
    "keys that are mappings": ("? " * 20_000 + "a", "nested too deeply"),
    "a null character": ("x-a: '\0'\n", "this is not valid YAML"),
    "a Python object": ("x-a: !!python/object/apply:os.system [id]\n", "is not supported; remove the tag"),
    "a number of a million digits": (f"x-a: {'9' * 1_000_000}\n", "cannot be read"),
}


@pytest.mark.tries("has the deployer read a file that is made to take all memory, or to run code")
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_file_is_refused_in_a_sentence(tmp_path: Path, kind: str) -> None:
    text, sentence = HOSTILE[kind]
    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", READ, str(file)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 2000
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 15


@pytest.mark.tries("declares a schedule with more runs than anybody could start")
@pytest.mark.parametrize("interval", [0.001, "PT0.5S", "PT0.000001S"])
def test_interval_below_a_second_is_refused(interval: float | str) -> None:
    with pytest.raises(ValidationError, match="a second or more"):
        Schedule.model_validate({"interval": interval})
    assert Schedule.model_validate({"interval": 1}).interval == 1


@pytest.mark.tries("declares a run every second", admits="A schedule may start a run every second")
@pytest.mark.parametrize("rule", [{"interval": 1}, {"rrule": "FREQ=SECONDLY"}])
def test_run_every_second_is_possible(rule: dict[str, int | str]) -> None:
    assert Schedule.model_validate(rule).rule.items() >= rule.items()
