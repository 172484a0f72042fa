"""The mock serves `yeedu-cli`'s workspaces: files, exports, imports and permissions; and its clusters."""

import json
from urllib.parse import unquote

import pytest

from tests.conformance.cli_scenarios import UPLOADED

pytestmark = pytest.mark.timeout(1500, func_only=False)


def test_an_uploaded_folder_arrives_with_all_in_it(cli_workspace):
    listed = cli_workspace.answer("workspace list-workspace-files")["data"]
    assert [(file["file_path"], file["is_dir"]) for file in listed] == [
        ("/data.csv", False),
        ("/landing", True),
        ("/landing/upload", True),
        ("/landing/upload/inner", True),
    ]
    assert listed[0]["file_size_bytes"] == len(UPLOADED)


def test_a_file_is_saved_under_its_name_as_it_was_sent(cli_workspace):
    message = cli_workspace.answer("workspace download-workspace-file")["message"]
    assert message == "File: 'data.csv' saved successfully."
    assert (cli_workspace.home / "data.csv").read_bytes() == UPLOADED


def test_an_exported_workspace_is_imported_into_another_and_bound_to_its_cluster(cli_workspace):
    exported = json.loads((cli_workspace.home / "demo.yeedu").read_text())
    names = [job["name"] for job in exported["jobs"]]
    assert names == ["hello-job", "failing-job", "long-job"]
    imported = cli_workspace.answer("workspace import")
    assert (imported["jobs"], imported["errors"]) == (names, [])
    assert cli_workspace.answer("job start")["cluster_id"] == 31


def test_a_guest_who_may_run_may_not_edit(cli_workspace):
    given = cli_workspace.answer("workspace create-user-access")
    assert (given["username"], given["permission"]) == ("guest", "RUN")
    assert cli_workspace.answer("job start")["created_by"]["username"] == "guest"
    assert "has not the permission EDIT" in cli_workspace.answer("job edit")["error_message"]


def test_a_cluster_is_made_after_a_configuration_and_found_by_it(cli_workspace):
    created = cli_workspace.answer("cluster create")
    assert created["cluster_conf_id"] == cli_workspace.answer("cluster create-conf")["cluster_conf_id"]
    (found,) = cli_workspace.answer("cluster list")["data"]
    assert found["cluster_id"] == created["cluster_id"]


def test_every_command_is_one_call_and_an_upload_one_for_each_file(cli_workspace):
    made = cli_workspace.answer("workspace create")["workspace_id"]
    in_made = f"workspace_id={made}"
    upload = f"POST workspace/files?{in_made}&overwrite=false"
    assert [unquote(call) for call in cli_workspace.calls] == [
        "POST workspace 200",
        f"{upload}&is_dir=true&path=/upload&target_dir=/landing 201",
        f"{upload}&is_dir=true&path=/upload/inner&target_dir=/landing 201",
        f"{upload}&is_dir=false&path=/upload/inner/data.csv&target_dir=/landing 201",
        f"PUT workspace/file/move?{in_made}&source_file_path=/landing/upload/inner/data.csv"
        "&destination_file_path=/data.csv&overwrite=false 200",
        f"GET workspace/files?{in_made}&recursive=true&pageNumber=1&limit=100 200",
        f"GET workspace/file/download?{in_made}&file_path=/data.csv 200",
        "GET workspace/export?workspace_id=1 200",
        f"POST workspace/import?{in_made}&cluster_name=larger-cluster&overwrite=false&permissive=false 201",
        f"POST ac/workspace/{made}/user 201",
        f"POST workspace/{made}/spark/job/run 200",
        f"PUT workspace/{made}/spark/job?job_name=hello-job 403",
        "POST cluster/conf 201",
        "POST cluster 200",
        "GET clusters?cluster_conf_name=general&pageNumber=1&limit=100 200",
    ]
