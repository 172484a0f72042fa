"""A forked flow run sees what a fresh interpreter sees, and nothing of another run."""

import json
import os
import random
import resource
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect_processes import PrefectServer, commit
from prefork_processes import Prefork, prefork

RUNS = int(os.environ.get("WORKER_ISOLATION_RUNS", "6"))
SEED = os.environ["TEST_SEED"]
OBSERVING = (Path(__file__).parent / "support" / "observing_flow.py").read_text(encoding="utf-8")
ENGINE = [sys.executable, "-m", "prefect.engine"]


@dataclass(frozen=True)
class Surroundings:
    """What a run inherits, apart from its own identity."""

    version: str
    variables: dict[str, str]
    umask: int
    open_files: int
    niceness: int
    files: tuple[str, ...]

    def prepare(self) -> None:
        """Become what the run inherits, between fork and exec."""
        os.umask(self.umask)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, 4096))
        os.setpriority(os.PRIO_PROCESS, 0, self.niceness)


def random_surroundings(choose: random.Random, version: str) -> Surroundings:
    names = [f"RANDOM_{choose.randrange(10**6)}" for _ in range(choose.randrange(5))]
    settings = {
        "PREFECT_LOGGING_LEVEL": choose.choice(["DEBUG", "WARNING"]),
        "PREFECT_TASKS_DEFAULT_RETRIES": str(choose.randrange(9)),
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": choose.choice(["true", "false"]),
        "PREFECT_LOGGING_EXTRA_LOGGERS": choose.choice(["", "mine", "requests"]),
        "TZ": choose.choice(["UTC", "Asia/Kolkata", "America/New_York"]),
    }
    return Surroundings(
        version=version,
        variables={**{name: choose.randbytes(choose.randrange(40)).hex() for name in names}, **settings},
        umask=choose.choice([0o022, 0o077, 0o002]),
        open_files=choose.choice([256, 1024, 2048]),
        niceness=choose.choice([0, 3]),
        files=tuple(f"file-{choose.randrange(100)}" for _ in range(choose.randrange(4))),
    )


@dataclass
class Bench:
    """Two repositories that have a module of the same name, and a prefork server."""

    server: PrefectServer
    prefork: Prefork
    deployments: dict[str, str]
    folder: Path

    def observe(self, run_environment: Surroundings, *, is_forked: bool) -> dict[str, Any]:
        """Run the observing flow and return its report, with what is this run's own replaced by words."""
        text = secrets.token_hex(8)
        folder = self.folder / text
        folder.mkdir()
        for name in run_environment.files:
            (folder / name).touch()
        report = self.folder / f"{text}.json"
        run = self.server.start_run(
            self.deployments[run_environment.version], {"report": str(report), "text": text}
        )
        environment = {
            **self.prefork.environment,
            **run_environment.variables,
            "TEXT_OF_RUN": text,
            "PREFECT__FLOW_RUN_ID": run,
        }
        options: dict[str, Any] = {"preexec_fn": run_environment.prepare}
        if is_forked:
            process = self.prefork.client(folder, environment, **options)
        else:
            process = subprocess.Popen(
                ENGINE,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                **options,
            )
        output = "".join(process.communicate(timeout=250))
        assert process.returncode == 0, output
        assert "instead" not in output
        own = {run: "RUN", text: "TEXT", str(folder): "FOLDER"}
        content = report.read_text(encoding="utf-8")
        for value, word in own.items():
            content = content.replace(value, word)
        return json.loads(content)


@pytest.fixture(scope="module")
def bench(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("isolation")
    deployments: dict[str, str] = {}
    for version in ("first", "second"):
        files = {"observing_flow.py": OBSERVING, "shared_name.py": f"VALUE = {version!r}\n"}
        commit(folder / version, files)
        deployments[version] = server.deploy(
            version, "observing_flow.py:observe", (folder / version).as_uri()
        )
    with prefork(server.environment(), folder / "prefork") as running:
        yield Bench(server, running, deployments, folder)


def differences(forked: Any, fresh: Any, where: str = "") -> list[str]:
    if isinstance(forked, dict) and isinstance(fresh, dict):
        names = sorted(forked.keys() | fresh.keys())
        return [
            line
            for name in names
            for line in differences(forked.get(name), fresh.get(name), f"{where}.{name}")
        ]
    return [] if forked == fresh else [f"{where}: forked {forked!r}, fresh {fresh!r}"]


def without_noise(seen: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs between two fresh interpreters, and what a fork has on top by design."""
    loaded = {name for name in seen["loaded"] if "." not in name}
    # The codec of host names is imported when a name is looked up for the first time.
    loaded -= {"stringprep", "_opcode", "opcode"}
    # Where Python notes warnings that it did not show: a fork's are in the server.
    return {**seen, "loaded": sorted(loaded), "main": sorted(set(seen["main"]) - {"__warningregistry__"})}


@pytest.mark.timeout(600 + 10 * RUNS)
def test_runs_see_exactly_what_a_fresh_interpreter_sees(bench: Bench) -> None:
    choose = random.Random(SEED)
    kinds = [random_surroundings(choose, choose.choice(["first", "second"])) for _ in range(2 + RUNS // 50)]
    with ThreadPoolExecutor(2) as pool:
        fresh = list(pool.map(lambda kind: bench.observe(kind, is_forked=False), kinds))
    chosen = [choose.randrange(len(kinds)) for _ in range(RUNS)]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda kind: bench.observe(kinds[kind], is_forked=True), chosen))
    for kind, report in zip(chosen, reports, strict=True):
        found = differences(without_noise(report["seen"]), without_noise(fresh[kind]["seen"]))
        assert not found, f"TEST_SEED={SEED}: {found}"
    for name in ("random", "identifier"):
        assert len({report[name] for report in reports}) == RUNS, f"{name} repeats"
    assert min(report["oom_score_adj"] for report in reports) >= 500, "the worker may be killed for a flow"
