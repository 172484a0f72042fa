"""`yeedu-mcp-server` 0.1.0 drives the mock: its tools' answers, as an agent reads them."""

import json

from tests.conformance.mcp_scenarios import LOOKUPS


def table(answer: str) -> list[dict[str, str]]:
    """Return the rows of a tool's table."""
    head, *rows = (line.split("|") for line in answer.splitlines() if "|" in line and "Page " not in line)
    return [dict(zip(head, row, strict=True)) for row in rows]


def facts(answer: str) -> dict[str, str]:
    """Return what a tool answered as `name,value` lines."""
    return dict(line.split(",", 1) for line in answer.splitlines() if "," in line)


def test_no_tool_that_was_called_met_an_error(mcp_jobs, mcp_clusters, mcp_sql_and_functions):
    for answers in (mcp_jobs.answers, mcp_clusters.answers, mcp_sql_and_functions.answers):
        refused = {"run_job", "a stopped cluster", "a disabled cluster"}
        wrong = {name: text for name, text in answers.items() if "Error" in text and name not in refused}
        assert wrong.keys() <= {"get_job_errors"}, wrong


def test_a_job_of_an_uploaded_program_is_made_listed_and_run(mcp_jobs):
    answers = mcp_jobs.answers
    assert "program.py|/program.py" in answers["browse_workspace_files"]
    listed = {row["job_name"]: row for row in table(answers["list_job_configurations"])}
    assert "demo" in listed["by-an-agent"].values()
    settings = {row["Field"]: row["Value"] for row in table(answers["get_job_configuration"])}
    assert (settings["Job Name"], settings["Job Type"], settings["Language"]) == (
        "by-an-agent",
        "Custom Code",
        "PySpark",
    )
    assert (settings["Cluster Name"], settings["Cluster Status"]) == ("demo-cluster", "RUNNING")
    assert "Arguments: ['one', 'two']" in answers["get_job_run_logs"]


def test_a_run_shows_what_it_is_of_what_it_was_given_and_its_states(mcp_jobs):
    run = facts(mcp_jobs.answers["the run"])
    assert (run["job_name"], run["job_type"], run["language"]) == ("by-an-agent", "SPARK_JOB", "Python3")
    assert (run["cluster_id"], run["cluster_name"]) == ("30", "demo-cluster")
    assert (run["runtime_arguments"], run["runtime_conf"]) == ("one two", "['spark.a=b']")
    _, _, history = mcp_jobs.answers["the run"].partition("status,start_time,end_time\n")
    assert [line.split(",")[0] for line in history.splitlines()] == ["SUBMITTED", "RUNNING", "DONE"]
    (listed,) = table(mcp_jobs.answers["workspace_job_runs"])
    assert (listed["run_id"], listed["status"], listed["created_by_username"]) == (
        run["run_id"],
        "DONE",
        "demo",
    )


def test_runs_are_stopped_counted_and_say_what_went_wrong(mcp_jobs):
    assert facts(mcp_jobs.answers["stop_job_run"])["action"] == "stop"
    assert "exit code 3" in mcp_jobs.answers["get_job_errors"]
    counts = {row["Status"]: row["Count"] for row in table(mcp_jobs.answers["get_workspace_stats"])}
    assert (counts["DONE"], counts["ERROR"], counts["STOPPED"], counts["TOTAL"]) == ("1", "1", "1", "3")


def test_thrift_sql_is_executed(mcp_sql_and_functions):
    assert mcp_sql_and_functions.answers["get_job_run_logs"] == "1\ta;b\n"


def test_a_function_is_deployed_initialised_called_and_stopped(mcp_sql_and_functions):
    answer = json.loads(mcp_sql_and_functions.answers["the function"])
    assert answer == {"result": {"hello": "agent", "counted": 10, "is_told_apart": True}}
    assert facts(mcp_sql_and_functions.answers["get_job_run_details"])["run_status"] == "STOPPED"


def test_a_cluster_that_is_stopped_or_disabled_refuses_runs_with_a_reason(mcp_clusters):
    assert (
        "The cluster 30 is STOPPED; it must be RUNNING. (HTTP 409)"
        in mcp_clusters.answers["a stopped cluster"]
    )
    assert "The cluster 30 is disabled" in mcp_clusters.answers["a disabled cluster"]


def test_clusters_are_shown_with_their_states_and_workspaces(mcp_clusters):
    answers = mcp_clusters.answers
    listed = {row["ID"]: row for row in table(answers["list_clusters"])}
    assert (listed["30"]["Name"], listed["30"]["Status"], listed["30"]["Type"]) == (
        "demo-cluster",
        "RUNNING",
        "YEEDU",
    )
    assert "Cluster Name: demo-cluster" in answers["get_cluster_details"]
    states = [row["Cluster Status"] for row in table(answers["get_cluster_events"])]
    assert states[:2] == ["RUNNING", "STOPPED"]
    assert "demo-cluster" in answers["get_workspace_clusters"]
    assert "demo" in answers["get_cluster_workspaces"]
    (workspace,) = table(answers["list_workspaces"])
    assert (workspace["workspace_name"], workspace["total_jobs"], workspace["total_notebooks"]) == (
        "demo",
        "3",
        "2",
    )


def test_every_lookup_lists_what_there_is(mcp_clusters):
    for tool, listed in LOOKUPS.items():
        assert listed in mcp_clusters.answers[tool], tool
    assert "MANAGE" in mcp_clusters.answers["list_workspace_permissions"]
    assert "Admin" in mcp_clusters.answers["get_roles"]
