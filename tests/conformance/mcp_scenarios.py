"""What is done with `yeedu-mcp-server`: its tools are called over MCP, against a mock of their own."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.mock_process import MockProcess, mock_process

CLIENT = Path(__file__).with_name("mcp_client.py")
STOP_TIMEOUT_SECONDS = 60
RUN_TIMEOUT_SECONDS = 300
PROGRAM = "import sys\nprint('Arguments:', sys.argv[1:])\nprint('To the error stream.', file=sys.stderr)\n"
FUNCTION = """
COUNT = 0

def init():
    global COUNT
    COUNT = 10

def greet(payload, context):
    return {"hello": payload["name"], "counted": COUNT, "is_told_apart": bool(context["request_uuid"])}
"""
SQL = "create table orders (id int, name text); insert into orders values (1, 'a;b'); select * from orders;"
LOOKUPS = {
    "get_cluster_statuses": "INITIATING",
    "get_job_statuses": "TERMINATED",
    "get_job_types": "YEEDU_FUNCTIONS|Functions",
    "get_job_languages": "RAW_SCALA|Raw Scala",
    "get_cluster_node_statuses": "RESIZING_UP",
}
IN_DEMO = {"workspace_id": 1}


@dataclass
class Agent:
    """What an agent sees of Yeedu through the MCP server.

    Attributes:
        mock: The mock behind the server.
        process: The MCP client, which has started the server.
        tools: The names of the server's tools.
        answers: What each tool answered last.
    """

    mock: MockProcess
    process: subprocess.Popen[str]
    tools: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)

    def call(self, tool: str, **arguments: Any) -> str:
        """Call a tool and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"tool": tool, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        self.answers[tool] = answer = self.read()
        return answer

    def until(self, tool: str, awaited: str, **arguments: Any) -> str:
        """Call a tool until its answer has something in it, and return that answer."""
        deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
        while awaited not in (answer := self.call(tool, **arguments)):
            assert time.monotonic() < deadline, answer
            assert not re.search(r"run_status,(DONE|ERROR|TERMINATED|STOPPED)", answer), answer
            time.sleep(0.2)
        return answer

    def read(self) -> Any:
        """Return the client's next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the MCP client has ended; mcp-server.log in its folder says why"
        return json.loads(line)


@contextmanager
def agent(folder: Path, installed: Path) -> Iterator[Agent]:
    """An agent whose server has a personal token of a session that selected the tenant."""
    with mock_process(folder) as mock:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "YEEDU_API_BASE_URL": mock.url,
            "YEEDU_API_KEY": mock.log_in(),
            "LOG_DIR": str(folder),
        }
        with (
            (folder / "mcp-client.log").open("w") as log,
            subprocess.Popen(
                [str(installed / "bin" / "python"), str(CLIENT)],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                made = Agent(mock, process)
                made.tools = made.read()
                yield made
                assert process.stdin is not None
                process.stdin.close()
                process.wait(STOP_TIMEOUT_SECONDS)
            finally:
                process.kill()


def jobs(folder: Path, installed: Path) -> Agent:
    """Upload a program, make a job of it, run it, look at everything about it, and stop a long one."""
    with agent(folder, installed) as made:
        made.call("upload_workspace_file", **IN_DEMO, path="/program.py", is_dir=False, file_content=PROGRAM)
        made.call("browse_workspace_files", **IN_DEMO, file_path="/")
        made.call(
            "create_job",
            **IN_DEMO,
            name="by-an-agent",
            job_type="Custom Code",
            job_language="PySpark",
            job_command="file:///files/program.py",
            cluster_id=30,
            max_concurrency=0,
        )
        made.call("list_job_configurations", **IN_DEMO, job_type=["Custom Code"], job_type_langs=["PySpark"])
        job_id = number_in(made.answers["create_job"], "job_id")
        made.call("get_job_configuration", **IN_DEMO, job_id=job_id)
        made.call(
            "run_job", **IN_DEMO, job_id=job_id, runtime_arguments="one two", runtime_conf=["spark.a=b"]
        )
        of_run = {**IN_DEMO, "run_id": number_in(made.answers["run_job"], "run_id")}
        done = made.until("get_job_run_details", "run_status,DONE", **of_run, include_status_history=True)
        made.answers["the run"] = done
        made.call("get_job_run_logs", **of_run, log_type="STDOUT", last_n_lines=10)
        made.call("workspace_job_runs", **IN_DEMO, job_ids=[job_id, 103], run_status="DONE")
        made.call("run_job", **IN_DEMO, job_id=103)
        long_run = {**IN_DEMO, "run_id": number_in(made.answers["run_job"], "run_id")}
        made.call("stop_job_run", **long_run)
        made.until("get_job_run_details", "run_status,STOPPED", **long_run)
        made.call("run_job", **IN_DEMO, job_id=102)
        failing = {**IN_DEMO, "run_id": number_in(made.answers["run_job"], "run_id")}
        made.until("get_job_run_details", "run_status,ERROR", **failing)
        made.call("get_job_errors", **failing)
        made.call("get_workspace_stats", **IN_DEMO)
    return made


def sql_and_functions(folder: Path, installed: Path) -> Agent:
    """Run a Thrift SQL job, and deploy and call a function."""
    with agent(folder, installed) as made:
        sql = {"name": "sql", "job_type": "Thrift SQL", "job_sqlCode": SQL, "cluster_id": 30}
        made.call("create_job", **IN_DEMO, **sql, max_concurrency=0)
        made.call("run_job", **IN_DEMO, job_id=number_in(made.answers["create_job"], "job_id"))
        of_run = {**IN_DEMO, "run_id": number_in(made.answers["run_job"], "run_id")}
        made.until("get_job_run_details", "run_status,DONE", **of_run)
        made.call("get_job_run_logs", **of_run, log_type="STDOUT", last_n_lines=10)
        made.call(
            "upload_workspace_file", **IN_DEMO, path="/greet/main.py", is_dir=False, file_content=FUNCTION
        )
        function = {
            "name": "function",
            "job_type": "Functions",
            "yeedu_functions_project_path": "file:///files/greet",
            "yeedu_functions_script_path": "file:///files/greet/main.py",
            "yeedu_functions_function_name": "greet",
            "yeedu_functions_max_request_concurrency": 2,
            "yeedu_functions_request_timeout_sec": 30,
            "yeedu_functions_idle_timeout_sec": 300,
        }
        made.call("create_job", **IN_DEMO, **function, cluster_id=30, max_concurrency=0)
        made.call("run_job", **IN_DEMO, job_id=number_in(made.answers["create_job"], "job_id"))
        run_id = number_in(made.answers["run_job"], "run_id")
        made.until("get_job_run_details", "run_status,RUNNING", **IN_DEMO, run_id=run_id)
        made.answers["the function"] = json.dumps(made.mock.call_function(run_id, {"name": "agent"}))
        made.call("stop_job_run", **IN_DEMO, run_id=run_id)
        made.until("get_job_run_details", "run_status,STOPPED", **IN_DEMO, run_id=run_id)
    return made


def clusters(folder: Path, installed: Path) -> Agent:
    """Look at clusters, stop one, be refused a run on it, start it again, and look up what there is."""
    with agent(folder, installed) as made:
        made.call("list_clusters", cluster_status=["RUNNING", "STOPPED"])
        made.call("get_cluster_details", cluster_id=30)
        made.call("cluster_action", action="stop", cluster_id=30)
        made.answers["a stopped cluster"] = made.call("run_job", **IN_DEMO, job_id=101)
        made.call("cluster_action", action="start", cluster_id=30)
        made.call("cluster_action", action="disable", cluster_id=30)
        made.answers["a disabled cluster"] = made.call("run_job", **IN_DEMO, job_id=101)
        made.call("cluster_action", action="enable", cluster_id=30)
        made.call("get_cluster_events", cluster_id=30)
        made.call("get_cluster_stats", cluster_id=30)
        made.call("get_workspace_clusters", **IN_DEMO)
        made.call("get_cluster_workspaces", cluster_id=30)
        for tool in ("list_workspaces", "list_tenants", "get_user_info", "get_roles", *LOOKUPS):
            made.call(tool)
        made.call("list_workspace_permissions")
    return made


def number_in(answer: str, key: str) -> int:
    """Return the number that a tool's answer has under a key."""
    found = re.search(rf"'{key}': (\d+)", answer)
    assert found, answer
    return int(found[1])
