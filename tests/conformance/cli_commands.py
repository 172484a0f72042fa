"""Every command of `yeedu-cli` for jobs, notebooks, workspaces, clusters and users, typed once."""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance.cli_scenarios import IN_DEMO, Terminal, cluster_options, logged_in
from tests.conformance.client_process import Ended

GROUPS = ("job", "notebook", "workspace", "cluster", "iam", "token")
LIST_COMMANDS = "import json; from yeeducli.constants import COMMANDS_DICT; print(json.dumps(COMMANDS_DICT))"


@dataclass
class Sweep:
    """What came of the commands.

    Attributes:
        known: The commands that the client lists, by group.
        ended: What each typed command printed.
        calls: What each typed command called, as `METHOD path?query status`.
    """

    known: dict[str, list[str]]
    ended: dict[str, Ended] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)


class Typist:
    """Types commands into a terminal and enters what came of them."""

    def __init__(self, terminal: Terminal, sweep: Sweep) -> None:
        self._terminal = terminal
        self._clean_up = sweep

    def type(self, command: str, *options: object) -> None:
        """Type a command."""
        self._terminal.mock.forget_calls()
        self._clean_up.ended[command] = self._terminal.type(command, *(str(option) for option in options))
        self._clean_up.calls[command] = self._terminal.mock.calls()

    def make(self, key: str, command: str, *options: object) -> int:
        """Type a command and return the id in its answer."""
        self.type(command, *options)
        return self._terminal.answer(command)[key]


def every_command(folder: Path, installed: Path) -> Sweep:
    """Type every command, each so that it succeeds."""
    listed = subprocess.check_output(
        [str(installed / "bin" / "python"), "-c", LIST_COMMANDS], cwd=folder, env={"HOME": str(folder)}
    )
    sweep = Sweep(json.loads(listed))
    with logged_in(folder, installed) as terminal:
        sweep.ended["iam associate-tenant"] = terminal.typed["iam associate-tenant"]
        sweep.calls["iam associate-tenant"] = terminal.mock.calls()
        typist = Typist(terminal, sweep)
        _clusters(typist)
        workspace = _workspaces(typist, folder)
        _access(
            typist, workspace, terminal.mock.add_user("guest"), terminal.mock.add_group("guests", "guest")
        )
        _jobs(typist)
        _notebooks(typist)
        _users(typist, terminal)
    return sweep


def _clusters(typist: Typist) -> None:
    conf = typist.make("cluster_conf_id", "cluster create-conf", "--name", "conf", "--machine_type_id", 1)
    by_conf = ("--cluster_conf_id", conf)
    typist.type("cluster list-confs", "--cloud_provider", "GCP", "--compute_type", "general_purpose")
    typist.type("cluster search-confs", "--cluster_conf_name", "CON", "--architecture_type", "x86_64")
    typist.type("cluster get-conf", "--cluster_conf_name", "conf")
    typist.type("cluster edit-conf", *by_conf, "--name", "edited", "--machine_type_id", 2)
    cluster = typist.make("cluster_id", "cluster create", *cluster_options("made", str(conf)))
    of_cluster = ("--cluster_id", cluster)
    typist.type("cluster list", *by_conf, "--cluster_status", "RUNNING", "--enable", "true")
    typist.type(
        "cluster search", "--cluster_name", "MAD", "--cloud_providers", "AWS", "--cluster_types", "YEEDU"
    )
    typist.type("cluster get", "--cluster_name", "made")
    typist.type("cluster edit", *of_cluster, "--description", "edited", "--max_instances", 2)
    for action in (
        "disable",
        "enable",
        "stop",
        "start",
        "get-stats",
        "list-status",
        "list-nodes-status",
        "logs",
    ):
        typist.type(f"cluster {action}", *of_cluster)
    typist.type("cluster list-errors", *of_cluster, "--node_status_id", 1)
    typist.type("cluster stop-all-jobs", *of_cluster)
    typist.type("cluster associate-workspace", *IN_DEMO, *of_cluster)
    typist.type("cluster list-workspaces", *of_cluster)
    typist.type("cluster search-workspaces", *of_cluster, "--workspace_name", "dem")
    typist.type("cluster list-workspace-clusters", *IN_DEMO, "--job_type", "NOTEBOOK")
    typist.type("cluster search-workspace-clusters", *IN_DEMO, "--cluster_name", "mad", "--enable", "true")
    typist.type("cluster dissociate-workspace", *IN_DEMO, *of_cluster)
    typist.type("cluster destroy", *of_cluster)
    typist.type("cluster delete-conf", *by_conf)


def _workspaces(typist: Typist, folder: Path) -> int:
    workspace = typist.make("workspace_id", "workspace create", "--name", "made", "--description", "Made.")
    made = ("--workspace_id", workspace)
    typist.type("workspace list", "--enable", "true")
    typist.type("workspace search", "--workspace_name", "MAD")
    typist.type("workspace get", "--workspace_name", "made")
    typist.type("workspace edit", *made, "--name", "edited", "--description", "null")
    for action in ("get-stats", "disable", "enable"):
        typist.type(f"workspace {action}", *made)
    typist.type("workspace export", *IN_DEMO, "--enable", "true")
    typist.type("workspace import", *made, "--file_path", "demo.yeedu", "--overwrite", "true")
    (folder / "file.txt").write_text("text")
    typist.type("workspace create-workspace-file", *made, "--local_file_path", folder / "file.txt")
    typist.type("workspace get-workspace-file", *made, "--file_path", "/file.txt")
    typist.type("workspace list-workspace-files", *made, "--file_path", "/", "--is_dir", "false")
    typist.type("workspace search-workspace-files", *made, "--file_name", "file", "--recursive", "true")
    move = (*made, "--source_file_path", "/file.txt", "--destination_file_path")
    typist.type("workspace copy-workspace-file", *move, "/copied.txt")
    typist.type("workspace move-workspace-file", *move, "/moved.txt", "--overwrite", "true")
    typist.type("workspace rename-workspace-file", *made, "--file_path", "/moved.txt", "--file_name", "b.txt")
    typist.type("workspace download-workspace-file", *made, "--file_path", "/b.txt")
    typist.type("workspace get-workspace-files-usage", *made)
    typist.type("workspace delete-workspace-file", *made, "--file_path", "/b.txt")
    return workspace


def _access(typist: Typist, workspace: int, user: int, group: int) -> None:
    made = ("--workspace_id", workspace)
    for kind, identifier, name in (("user", user, "guest"), ("group", group, "guests")):
        who, called = (f"--{kind}_id", identifier), (f"--{kind}name", name)
        typist.type(f"workspace list-{kind}s", *made)
        typist.type(f"workspace search-{kind}s", *made, *called)
        typist.type(f"workspace match-{kind}", *made, *called)
        typist.type(f"workspace create-{kind}-access", *made, *who, "--permission_id", 3)
        typist.type(f"workspace list-{kind}s-access", *made, "--permission_id", 3)
        typist.type(f"workspace search-{kind}s-access", *made, *called)
        typist.type(f"workspace get-{kind}-access", *made, *who)
        typist.type(f"workspace delete-{kind}-access", *made, *who, "--permission_id", 3)
        typist.type(f"iam list-{kind}s")
        typist.type(f"iam search-{kind}s", *called)
        typist.type(f"iam match-{kind}", *called)
    typist.type("iam list-group-users", "--group_id", group)
    typist.type("iam list-user-groups", "--user_id", user)
    typist.type("iam list-workspace-permissions")
    typist.type("iam get-workspace-permission", "--permission_id", 3)


def _jobs(typist: Typist) -> None:
    sleeping = ("--job-type", "Python3", "--job-command", "sleep 60")
    job = typist.make("job_id", "job create", *IN_DEMO, "--name", "made", "--cluster_id", 30, *sleeping)
    of_job = (*IN_DEMO, "--job_id", job)
    typist.type("job get", *of_job)
    typist.type("job edit", *of_job, "--name", "edited", "--job-arguments", "null", "--conf", "a=1")
    for action in ("disable", "enable", "export"):
        typist.type(f"job {action}", *of_job)
    run = typist.make("run_id", "job start", *of_job, "--arguments", "some")
    of_run = (*IN_DEMO, "--run_id", run)
    typist.type("job run-status", *of_run)
    typist.type("job get-run", *of_run)
    application = typist.make("application_id", "job get-run", *of_run)
    typist.type("job get-workflow-job-instance", *IN_DEMO, "--application_id", application)
    typist.type("job logs", *of_run, "--log_type", "stderr")
    typist.type("job list", *IN_DEMO, "--job_type", "SPARK_JOB", "--job_type_langs", "Python3")
    typist.type("job search", *IN_DEMO, "--job_name", "edit", "--has_run", "true")
    typist.type("job list-runs", *IN_DEMO, "--job_ids", job, "--job_type", "SPARK_JOB")
    typist.type("job search-runs", *IN_DEMO, "--job_name", "edit", "--run_status", "running,submitted")
    typist.type("job stop", *of_run)


def _notebooks(typist: Typist) -> None:
    named = ("--notebook_name", "made", "--notebook_type", "python3", "--notebook_path", "/notes")
    notebook = typist.make("notebook_id", "notebook create", *IN_DEMO, "--cluster_id", 30, *named)
    of_notebook = (*IN_DEMO, "--notebook_id", notebook)
    typist.type("notebook get", *of_notebook)
    typist.type("notebook edit", *of_notebook, "--name", "edited", "--conf", "a=1")
    for action in ("disable", "enable", "export"):
        typist.type(f"notebook {action}", *of_notebook)
    typist.type(
        "notebook clone", *of_notebook, "--new_notebook_name", "clone", "--clone_file_path", "/clones"
    )
    run = typist.make("run_id", "notebook start", *of_notebook)
    of_run = (*IN_DEMO, "--run_id", run)
    typist.type("notebook get-run", *of_run)
    typist.type("notebook list", *IN_DEMO, "--language", "Python3", "--enable", "true")
    typist.type("notebook search", *IN_DEMO, "--notebook_name", "edit", "--has_run", "true")
    typist.type("notebook list-runs", *IN_DEMO, "--notebook_ids", notebook, "--is_background", "false")
    typist.type("notebook search-runs", *IN_DEMO, "--notebook_name", "edited", "--run_status", "running")
    for action in ("kernel-start", "kernel-status", "kernel-interrupt", "kernel-restart", "logs", "stop"):
        typist.type(f"notebook {action}", *of_run)


def _users(typist: Typist, terminal: Terminal) -> None:
    typist.type("iam list-tenants")
    typist.type("iam search-tenants", "--tenant_name", "dem")
    typist.type("iam get-user-info")
    typist.type("iam get-user-roles", "--tenant_id", terminal.mock.tenant)
    token = typist.make("token_id", "token create", "--description", "made", "--timeout", "1 days")
    typist.type("token list")
    typist.type("token delete", "--token_id", token)
    typist.type("logout")
