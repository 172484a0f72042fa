"""Projects of flows, each with modules in a folder scripts/ of its own, on one worker."""

from pathlib import Path

from prefect_processes import OURS, PrefectServer, commit, worker

FLOW = """
from prefect import flow
from scripts.steps import say

@flow
def run():
    assert say() == "{name}"
"""
FILES = {
    f"flows/{name}/{file}": text
    for name in ("one", "two")
    for file, text in {
        "load.py": FLOW.format(name=name),
        "scripts/steps.py": f"def say():\n    return {name!r}\n",
    }.items()
}


def test_every_run_finds_the_modules_of_its_own_project(server: PrefectServer, tmp_path: Path) -> None:
    commit(tmp_path / "repository", FILES)
    server.make_pool("projects", OURS)
    url = (tmp_path / "repository").as_uri()
    deployments = [
        server.deploy(name, f"flows/{name}/load.py:run", url, work_pool_name="projects")
        for name in ("one", "two")
    ]
    with worker(server, "projects", tmp_path / "worker", WORKER_PREFORK="true"):
        runs = [server.start_run(deployment, {}) for deployment in deployments * 2]
        ends = [server.await_state(run) for run in runs]
    assert [(end["state_type"], end["state"]["message"]) for end in ends] == [("COMPLETED", None)] * 4
