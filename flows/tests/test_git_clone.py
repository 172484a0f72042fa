"""The flows as a worker sees them: a git clone, nothing else of the repository on the import path."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FLOWS = Path(__file__).parents[1]
FLOW_NAMES = {
    "check_yeedu_health.py:check_yeedu_health": "check-yeedu-health",
    "create_file_on_windows.py:create_file_on_windows": "create-file-on-windows",
    "print_message.py:print_message": "print-message",
    "run_flows_in_parallel.py:run_flows_in_parallel": "run-flows-in-parallel",
    "run_shell_command.py:run_shell_command": "run-shell-command",
    "run_yeedu_job.py:run_yeedu_job_flow": "run-yeedu-job",
    "run_yeedu_notebook.py:run_yeedu_notebook_flow": "run-yeedu-notebook",
    "verify_file_names.py:verify_file_names": "verify-file-names",
}

# What the engine does between its pull steps and the run: change to the clone, and load the entrypoint.
LOAD = """
import json, sys
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
found = {}
for entrypoint in sys.argv[1:]:
    flow = load_flow_from_entrypoint("flows/" + entrypoint, use_placeholder_flow=False)
    found[entrypoint] = [flow.name, flow.description, parameter_schema(flow).model_dump_for_openapi()]
print(json.dumps(found))
"""
RUN = """
from prefect.flows import load_flow_from_entrypoint
entrypoint = "flows/run_flows_in_parallel.py:run_flows_in_parallel"
flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
assert flow() == dict.fromkeys(["print-message", "run-shell-command", "verify-file-names"], "Completed")
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A depth-1 clone of a repository that has nothing but these flows."""
    source = tmp_path / "source"
    shutil.copytree(FLOWS, source / "flows", ignore=shutil.ignore_patterns("__pycache__", "tests"))
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for arguments in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*author, "commit", "--quiet", "--message", "One"],
    ):
        subprocess.run(["git", *arguments], cwd=source, check=True)
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", f"file://{source}", "clone"], cwd=tmp_path, check=True
    )
    return tmp_path / "clone"


def test_every_flow_loads_with_its_name_and_every_parameter_is_described(
    run_python: Callable[..., Any], clone: Path
) -> None:
    process = run_python("-c", LOAD, *FLOW_NAMES, cwd=clone)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    found = json.loads(output.splitlines()[-1])
    assert {entrypoint: name for entrypoint, (name, _, _) in found.items()} == FLOW_NAMES
    for entrypoint, (_, description, schema) in found.items():
        assert description, entrypoint
        for name, described in schema["properties"].items():
            assert described.get("description"), (entrypoint, name)
            assert "default" in described, (entrypoint, name)


def test_flows_that_import_each_other_and_ship_files_run_from_a_clone(
    run_python: Callable[..., Any], clone: Path
) -> None:
    process = run_python("-c", RUN, cwd=clone)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "All 3 file names in flows/content_files are snake_case." in output
