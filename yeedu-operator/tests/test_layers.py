"""The package's layers: imports go only downward, and only the top knows Prefect."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import prefect_yeedu

PACKAGE = Path(prefect_yeedu.__file__).parent
# From the bottom up; a module may import those of the lines below it and of its own line before it.
LAYERS = {
    "": ["errors", "models", "failures", "retry_policy", "urls"],
    "wire.": [
        "redaction",
        "responses",
        *("cell_outputs", "kernel_protocol", "kernel_probe", "notebook_parameters", "notebook_document"),
        "routes",
        "run_object",
    ],
    "client.": [
        *("tls", "transport", "login", "connection", "definitions", "client", "session_cache"),
        *("kernel_channel", "api"),
    ],
    "runs.": [
        *("record", "wait_options", "log_follower", "remote_run", "job_run"),
        *("cell_options", "kernel_watch", "kernel_connection", "kernel_echo"),
        *("cell_runner", "saved_outputs", "cell_sequence"),
        *(
            "run_search",
            "submission",
            "notebook_run",
            "clusters",
            "cluster_start",
            "request",
            "start",
            "execution",
        ),
    ],
    "flow_run.": [
        *("call_stack", "prefect_server", "connection", "stopping", "run_artifacts", "run_events"),
        "deferral",
        "run_logging",
        *("record_fields", "cluster_record", "call_identity", "run_record", "calls", "dispatch"),
    ],
}
WITHOUT_PREFECT = [
    folder + name for folder, names in LAYERS.items() for name in names if folder != "flow_run."
]
PUBLIC = [
    *("arguments", "options", "credentials", "flow_run.left_runs", "flow_run.deferred_runs"),
    *("flow_run.run_ends", "flow_run.watch", "definition_blocks", "job_runs"),
    *("job_blocks", "tasks", "yeedu_operator", "task_retries"),
]
ORDER = [*(folder + name for folder, names in LAYERS.items() for name in names), *PUBLIC]


def path_of(module: str) -> Path:
    return PACKAGE / f"{module.replace('.', '/')}.py"


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def test_every_module_has_its_layer() -> None:
    paths = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")}
    assert {".".join(path.parts) for path in paths if path.name != "__init__"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_downward(module: str) -> None:
    imported = {
        name.removeprefix("prefect_yeedu.")
        for name in imports_of(path_of(module))
        if name.startswith("prefect_yeedu.")
    }
    assert imported <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("module", WITHOUT_PREFECT)
def test_only_the_top_layer_knows_prefect(module: str) -> None:
    assert not any(name.partition(".")[0] == "prefect" for name in imports_of(path_of(module)))


def test_importing_takes_nothing_but_the_three_requirements() -> None:
    program = "import sys, prefect_yeedu; print('yeedu_mock' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
