"""What is done with `yeedu-cli`: commands as a user types them, against a mock of their own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.client_process import Ended, run_client
from tests.conformance.mock_process import MockProcess, mock_process
from tests.platforms import wait_for

IN_DEMO = ("--workspace_id", "1")
UPLOADED = b"id,name\r\n1,\xe4\r\n"
JOB_COMMAND = 'echo "Arguments: $*"; echo "Conf: $YEEDU_CONF"; echo "To the error stream." >&2'


@dataclass
class Terminal:
    """A user's terminal, in which commands are typed one after the other.

    Attributes:
        mock: The mock that the commands speak to.
        home: The user's home folder, where the client keeps its token.
        program: The client.
        typed: The last command of each kind, by the words it began with.
        calls: The mock's journal at the end.
        saved: The notebook's cells as the mock has them at the end, where one was run.
    """

    mock: MockProcess
    home: Path
    program: Path
    typed: dict[str, Ended] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    saved: list[dict[str, Any]] = field(default_factory=list)

    def type(self, command: str, *options: str, **environment: str) -> Ended:
        """Run `yeedu COMMAND OPTIONS` to its end."""
        self.typed[command] = ended = run_client(
            [str(self.program), *command.split(), *options],
            self.home,
            YEEDU_RESTAPI_URL=self.mock.url,
            YEEDU_CLI_VERIFY_SSL="false",  # else it asks for a file of certificates, for plain HTTP too
            **environment,
        )
        return ended

    def answer(self, command: str) -> Any:
        """Return what a command has printed as JSON."""
        return json.loads(self.typed[command].output)


def job(folder: Path, installed: Path) -> Terminal:
    """Create a job, run it to its end, look at it, and log out."""
    with logged_in(folder, installed) as terminal:
        terminal.type(
            "job create",
            *(*IN_DEMO, "--name", "made-here", "--cluster_id", "30", "--job-type", "Python3"),
            *("--job-command", JOB_COMMAND, "--job-arguments", "of the job", "--conf", "spark.a=1"),
        )
        terminal.type("job get", *IN_DEMO, "--job_name", "made-here")
        terminal.type("job start", *IN_DEMO, "--job_name", "made-here", "--conf", "spark.b=2", "--follow")
        terminal.type("job list-runs", *IN_DEMO, "--run_status", "done")
        run_id = terminal.answer("job list-runs")["data"][0]["run_id"]
        terminal.type("job logs", *IN_DEMO, "--run_id", str(run_id), "--last_n_lines", "1")
        terminal.type("logout")
        terminal.type("job list", *IN_DEMO)
    return terminal


def failing_job(folder: Path, installed: Path) -> Terminal:
    """Run a job that fails."""
    with logged_in(folder, installed) as terminal:
        terminal.type("job start", *IN_DEMO, "--job_id", "102", "--follow")
    return terminal


def stopped_job(folder: Path, installed: Path) -> Terminal:
    """Start a long job, look at it while it runs, stop it, and stop it again."""
    with logged_in(folder, installed) as terminal:
        terminal.type("job start", *IN_DEMO, "--job_name", "long-job")
        of_run = (*IN_DEMO, "--run_id", str(terminal.answer("job start")["run_id"]))
        logs = folder / "mock-state"  # looked at here, since the journal is to hold the client's calls alone
        wait_for("first line", lambda: any(log.stat().st_size for log in logs.rglob("stdout.log")), 240)
        terminal.type("job run-status", *of_run)
        terminal.type("job logs", *of_run, "--log_type", "stdout")
        terminal.type("job stop", *of_run)
        terminal.type("job get-run", *of_run)
        terminal.type("job stop", *of_run)
    return terminal


def notebook(folder: Path, installed: Path) -> Terminal:
    """Run a notebook of three cells."""
    return _notebook(folder, installed, 201)


def failing_notebook(folder: Path, installed: Path) -> Terminal:
    """Run a notebook whose second cell of three fails."""
    return _notebook(folder, installed, 202)


def workspace(folder: Path, installed: Path) -> Terminal:
    """Fill a workspace with files and another one's jobs, let a guest run them, and make a cluster."""
    (folder / "upload" / "inner").mkdir(parents=True)
    (folder / "upload" / "inner" / "data.csv").write_bytes(UPLOADED)
    with logged_in(folder, installed) as terminal:
        guest_id = terminal.mock.add_user("guest")
        guest = {"YEEDU_RESTAPI_TOKEN": terminal.mock.log_in("guest")}
        terminal.mock.forget_calls()
        terminal.type("workspace create", "--name", "made-here", "--description", "For a guest.")
        made = ("--workspace_id", str(terminal.answer("workspace create")["workspace_id"]))
        terminal.type(
            "workspace create-workspace-file",
            *(*made, "--local_file_path", str(folder / "upload")),
            *("--recursive", "true", "--root_output_dir", "/landing"),
        )
        terminal.type(
            "workspace move-workspace-file",
            *(*made, "--source_file_path", "/landing/upload/inner/data.csv"),
            *("--destination_file_path", "/data.csv"),
        )
        terminal.type("workspace list-workspace-files", *made, "--recursive", "true")
        terminal.type("workspace download-workspace-file", *made, "--file_path", "/data.csv")
        terminal.type("workspace export", *IN_DEMO)
        terminal.type(
            "workspace import", *made, "--file_path", "demo.yeedu", "--cluster_name", "larger-cluster"
        )
        allow = ("--user_id", str(guest_id), "--permission_id", "2")
        terminal.type("workspace create-user-access", *made, *allow)
        terminal.type("job start", *made, "--job_name", "hello-job", **guest)
        terminal.type("job edit", *made, "--job_name", "hello-job", "--max_concurrency", "2", **guest)
        terminal.type("cluster create-conf", "--name", "general", "--machine_type_id", "1")
        conf_id = str(terminal.answer("cluster create-conf")["cluster_conf_id"])
        terminal.type("cluster create", *cluster_options("made-here", conf_id))
        terminal.type("cluster list", "--cluster_conf_name", "general")
    return terminal


def cluster_options(name: str, conf_id: str) -> tuple[str, ...]:
    """Return what `cluster create` asks for."""
    return (
        *("--name", name, "--cluster_conf_id", conf_id, "--cluster_type", "YEEDU"),
        *("--cloud_env_id", "1", "--spark_infra_version_id", "1"),
    )


def _notebook(folder: Path, installed: Path, notebook_id: int) -> Terminal:
    with logged_in(folder, installed) as terminal:
        terminal.type("notebook start", *IN_DEMO, "--notebook_id", str(notebook_id), "--follow")
        terminal.calls = terminal.mock.calls()
        terminal.type("notebook list-runs", *IN_DEMO)
        run_id = terminal.answer("notebook list-runs")["data"][0]["run_id"]
        path = f"workspace/1/notebook/{notebook_id}/run/{run_id}/download"
        terminal.saved = terminal.mock.get(terminal.mock.log_in(), path)["cells"]
    return terminal


@contextmanager
def logged_in(folder: Path, installed: Path) -> Iterator[Terminal]:
    """A terminal whose user has logged in and selected the tenant; the journal is read at the end."""
    with mock_process(folder) as mock:
        terminal = Terminal(mock, folder, installed / "bin" / "yeedu")
        terminal.type("configure", YEEDU_USERNAME=mock.username, YEEDU_PASSWORD=mock.password)
        terminal.type("iam associate-tenant", "--tenant_id", mock.tenant)
        yield terminal
        terminal.calls = terminal.calls or mock.calls()
