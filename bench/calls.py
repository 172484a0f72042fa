"""Measures what one flow run asks of the server, and where its processor time goes.

Starts its own server (SQLite), worker and mock. Flow runs come in rounds, as many at a time as the worker
takes. What everything uses while idle is measured first, and subtracted.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import requests
from psutil import Process

from bench.process_stats import own_cpu_seconds, usage
from bench.workers import completed_runs
from tests.conformance.mock_process import MockProcess, mock_process
from tests.platforms import JSON, Api, commit, free_port, wait_for
from tests.prefect_process import PrefectProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
POOL = "counted-pool"
FLOWS = ("empty", "ten_tasks", "yeedu_job")
AT_ONCE, ROUNDS, IDLE_SECONDS = 5, 3, 10
SETTLE_SECONDS = 60
_JOB = {"name": "no-time", "program": "print('done')"}
_SECRETS = """
import os
from prefect.blocks.system import Secret
Secret(value=os.environ["MOCK_PASSWORD"]).save("yeedu-password")
"""

Figures = dict[str, Any]


def measure() -> Figures:
    """Run every flow several times, and return what one run of each costs."""
    with TemporaryDirectory(prefix="yeedu-calls-") as scratch, mock_process(Path(scratch)) as mock:
        folder = Path(scratch)
        server = PrefectProcess(folder, _SERVER, [str(HERE / "counting_server.py")])
        with server, _worker(server, folder) as worker:
            deployments = _deploy(server, mock, folder)
            for deployment in deployments.values():
                _run(server, deployment, AT_ONCE)  # imports, clones and caches
            _settled(server)
            print(f"nothing runs for {IDLE_SECONDS} s", flush=True)
            began, before = time.monotonic(), _cpu_seconds(server, worker)
            time.sleep(IDLE_SECONDS)  # the length defines the figures
            idle = _each_second(before, _cpu_seconds(server, worker), time.monotonic() - began)
            figures: Figures = {}
            for flow, deployment in deployments.items():
                print(f"{flow}: {ROUNDS} times {AT_ONCE} runs", flush=True)
                _counts(server)
                began, before = time.monotonic(), _cpu_seconds(server, worker)
                for _ in range(ROUNDS):
                    _run(server, deployment, AT_ONCE)
                counts = _settled(server)
                seconds = time.monotonic() - began
                busy = _each_second(before, _cpu_seconds(server, worker), seconds)
                runs = ROUNDS * AT_ONCE
                figures[flow] = {
                    "cpu_milliseconds": {
                        part: (busy[part] - idle[part]) * seconds / runs * 1000 for part in busy
                    },
                    "calls": {
                        call: {name: count / runs for name, count in row.items()}
                        for call, row in counts.items()
                    },
                }
    return figures


def _each_second(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    return {part: (after[part] - before[part]) / seconds for part in before}


def _cpu_seconds(server: PrefectProcess, worker: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Return the processor seconds used so far by the server, the worker, and the flow runs."""
    [prefork] = [
        child.pid
        for child in Process(worker.pid).children()
        if "yeedu_worker.prefork.server" in child.cmdline()
    ]
    _, runs = own_cpu_seconds(prefork)
    return {
        "flow runs": runs,
        "worker": usage(worker.pid).cpu_seconds - runs,
        "server": usage(server.pid).cpu_seconds,
    }


_SERVER = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PYTHONTZPATH": "",
}


@contextmanager
def _worker(server: PrefectProcess, folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the platform's worker with its settings on the platform."""
    _api(server).post("work_pools/", {"name": POOL, "type": "process", "base_job_template": _template()})
    home = folder / "worker"
    home.mkdir()
    environment = {
        **server.environment,
        "PATH": os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", os.defpath)]),
        "PREFECT_API_URL": server.url,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_WEBSERVER_PORT": str(free_port()),
        "WORKER_POOL": POOL,
        "WORKER_LIMIT": str(AT_ONCE),
    }
    log_file = home / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [PROGRAMS / "yeedu-worker"], cwd=home, env=environment, stdout=log, stderr=log
        )
    try:
        wait_for("worker", lambda: "yeedu-prefork: ready" in log_file.read_text(), 120)
        yield process
    except BaseException:
        print(log_file.read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait(60)


def _template() -> JSON:
    names = ("command", "env", "working_dir", "stream_output", "name", "labels")
    properties: JSON = {name: {} for name in names}
    properties["command"] = {"type": "string", "default": "yeedu-flow-run"}
    properties["stream_output"] = {"type": "boolean", "default": True}
    return {
        "job_configuration": {name: f"{{{{ {name} }}}}" for name in names},
        "variables": {"type": "object", "properties": properties},
    }


def _deploy(server: PrefectProcess, mock: MockProcess, folder: Path) -> dict[str, str]:
    """Create a deployment of every flow, and return their ids."""
    api = _api(server)
    repository = folder / "flows"
    repository.mkdir()
    copyfile(HERE / "counted_flows.py", repository / "counted_flows.py")
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=repository, check=True)
    commit(repository, "Start")
    details = {"username": mock.username, "YEEDU_VERIFY_SSL": "false", "YEEDU_SSL_CERT_FILE": ""}
    api.post("variables/", {"name": "yeedu_connection_details", "value": details})
    subprocess.run(
        [sys.executable, "-c", _SECRETS],
        env={**server.environment, "PREFECT_API_URL": server.url, "MOCK_PASSWORD": mock.password},
        check=True,
    )
    answer = requests.post(f"{mock.url}/_control/jobs", json=_JOB, timeout=30)
    answer.raise_for_status()
    url = f"{mock.url}/tenant/{mock.tenant}/workspace/1/spark/job/{answer.json()['job_id']}"
    step = {"prefect.deployments.steps.git_clone": {"repository": repository.as_uri()}}
    made: dict[str, str] = {}
    for flow in FLOWS:
        body = {
            "name": flow,
            "flow_id": api.post("flows/", {"name": flow.replace("_", "-")})["id"],
            "entrypoint": f"counted_flows.py:{flow}",
            "pull_steps": [step],
            "work_pool_name": POOL,
            "parameters": {"job_url": url} if flow == "yeedu_job" else {},
        }
        made[flow] = api.post("deployments/", body)["id"]
    return made


def _run(server: PrefectProcess, deployment: str, times: int) -> None:
    """Start this many runs at once, and wait until all of them are Completed."""
    api = _api(server)
    completed_runs(api, [api.trigger(deployment) for _ in range(times)], pause_seconds=1)


def _settled(server: PrefectProcess) -> dict[str, dict[str, float]]:
    """Return the counts once only an idle worker's are added: some things are written with a delay."""
    total = _counts(server)

    def look() -> bool:
        more = _counts(server)
        for call, row in more.items():
            for name, count in row.items():
                known = total.setdefault(call, {})
                known[name] = known.get(name, 0) + count
        return sum(row.get("statements", 0) for row in more.values()) < 30

    wait_for("end of the server's writing", look, SETTLE_SECONDS, 2)
    return {call: row for call, row in total.items() if not call.startswith("POST /flow_runs/count")}


def _counts(server: PrefectProcess) -> dict[str, dict[str, float]]:
    return requests.get(f"{server.url.removesuffix('/api')}/counts", timeout=30).json()


def _api(server: PrefectProcess) -> Api:
    return Api(server.url)


def table(figures: Figures) -> str:
    """Return a Markdown table for each flow, the most expensive calls first."""
    parts: list[str] = []
    for flow, row in figures.items():
        cpu = row["cpu_milliseconds"]
        calls = row["calls"]
        parts += [
            f"**{flow}**: CPU ms {sum(cpu.values()):.0f}, of which "
            + ", ".join(f"{name} {milliseconds:.0f}" for name, milliseconds in cpu.items()),
            "",
            "| for each run | times | messages | bytes | milliseconds | statements | commits |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        names = ("times", "messages", "bytes", "milliseconds", "statements", "commits")
        for call, counts in sorted(calls.items(), key=lambda one: -one[1].get("milliseconds", 0)):
            cells = [f"{counts[name]:.1f}" if counts.get(name) else "" for name in names]
            parts.append(f"| {call} | {' | '.join(cells)} |")
        total = [sum(counts.get(name, 0) for counts in calls.values()) for name in names]
        parts += [f"| all | {' | '.join(f'{value:.1f}' for value in total)} |", ""]
    return "\n".join(parts)
