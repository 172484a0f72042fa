"""The files of a workspace: real bytes, kept under ids, with paths that are only looked up."""

import io
import zipfile

import pytest

from yeedu_mock.state import files
from yeedu_mock.state.seeds import OTHER_TENANT
from yeedu_mock.testing import default_settings, running_mock


@pytest.fixture
def where(client, request):
    """The query that names a workspace of the test's own."""
    made = client.post("workspace", {"name": request.node.name})
    return {"workspace_id": made.json()["workspace_id"]}


def upload(client, where, path, content=b"content", **query):
    return client.request(
        "POST", "workspace/files", params={**where, "path": path, **query}, data=iter([content])
    )


def make_folder(client, where, path, **query):
    return client.request(
        "POST", "workspace/files", params={**where, "path": path, "is_dir": "true", **query}
    )


def paths(client, where, **query):
    answer = client.get("workspace/files", params={**where, "recursive": "true", **query})
    assert answer.status_code == 200, answer.text
    return [file["file_path"] for file in answer.json()["data"]]


def content(client, where, path):
    answer = client.get("workspace/file/download", params={**where, "file_path": path})
    return answer.content if answer.status_code == 200 else answer.status_code


def test_uploaded_bytes_come_back_and_folders_on_the_way_are_made(client, where):
    sent = bytes(range(256)) * 1000
    made = upload(client, where, "/data.bin", sent, target_dir="/in/here")
    assert (made.status_code, made.json()["file_path"]) == (201, "/in/here/data.bin")
    assert made.json()["file_size_bytes"] == len(sent)
    assert paths(client, where) == ["/in", "/in/here", "/in/here/data.bin"]
    assert paths(client, where, recursive="false") == ["/in"]
    assert paths(client, where, file_path="/in", is_dir="false") == ["/in/here/data.bin"]
    downloaded = client.get("workspace/file/download", params={**where, "file_id": made.json()["file_id"]})
    assert downloaded.content == sent
    assert downloaded.headers["content-disposition"] == 'attachment; filename="data.bin"'


def test_a_file_is_overwritten_only_when_asked_to(client, where):
    first = upload(client, where, "/a.txt", b"first").json()
    assert upload(client, where, "/a.txt", b"second").status_code == 409
    assert content(client, where, "/a.txt") == b"first"
    assert upload(client, where, "/a.txt", b"second", overwrite="true").json()["file_id"] == first["file_id"]
    assert content(client, where, "/a.txt") == b"second"
    assert make_folder(client, where, "/a.txt", overwrite="true").status_code == 409
    assert upload(client, where, "/a.txt/b.txt").status_code == 409
    assert paths(client, where) == ["/a.txt"]


def test_a_folder_is_made_again_only_with_overwrite_and_keeps_what_is_in_it(client, where):
    assert make_folder(client, where, "/folder").status_code == 201
    upload(client, where, "/folder/a.txt")
    assert make_folder(client, where, "/folder").status_code == 409
    assert make_folder(client, where, "/folder", overwrite="true").status_code == 201
    assert upload(client, where, "/folder", overwrite="true").status_code == 409
    assert paths(client, where) == ["/folder", "/folder/a.txt"]


@pytest.mark.parametrize(
    "path",
    ["/../../outside", "..", "/a\\b", "/a\0b", "/a/../../b", pytest.param("/" + "a" * 1000, id="long")],
)
def test_a_path_that_leads_anywhere_else_is_refused(client, where, path):
    assert upload(client, where, path).status_code == 400
    assert upload(client, where, "/a.txt", target_dir=path).status_code == 400
    upload(client, where, "/a.txt")
    moved = {"source_file_path": "/a.txt", "destination_file_path": path}
    assert client.request("PUT", "workspace/file/move", params={**where, **moved}).status_code == 400
    assert content(client, where, path) == 400
    assert paths(client, where) == ["/a.txt"]


def test_files_are_moved_renamed_copied_and_deleted_with_what_is_in_them(client, where):
    upload(client, where, "/a/b/c.txt", b"c")
    query = {**where, "source_file_path": "/a/b", "destination_file_path": "/moved"}
    assert client.request("PUT", "workspace/file/move", params=query).json()["file_path"] == "/moved"
    rename = {**where, "file_path": "/moved", "file_name": "renamed"}
    assert client.request("PUT", "workspace/file/rename", params=rename).json()["file_path"] == "/renamed"
    assert (content(client, where, "/a/b/c.txt"), content(client, where, "/renamed/c.txt")) == (404, b"c")
    into = {**where, "source_file_path": "/renamed", "destination_file_path": "/a"}
    assert client.post("workspace/file/copy", params=into).json()["file_path"] == "/a/renamed"
    usage = client.get("workspace/file/usage", params=where).json()
    assert (usage["total_files"], usage["total_folders"], usage["total_size_bytes"]) == (2, 3, 2)
    delete = {**where, "file_path": "/renamed"}
    assert len(client.request("DELETE", "workspace/file", params=delete).json()["file_ids"]) == 2
    assert client.request("DELETE", "workspace/file", params=delete).status_code == 404
    assert paths(client, where) == ["/a", "/a/renamed", "/a/renamed/c.txt"]
    assert content(client, where, "/a/renamed/c.txt") == b"c"


def test_what_is_at_a_destination_stays_unless_it_may_be_overwritten(client, where):
    upload(client, where, "/a.txt", b"a")
    upload(client, where, "/b.txt", b"b")
    query = {**where, "source_file_path": "/a.txt", "destination_file_path": "/b.txt"}
    assert client.request("PUT", "workspace/file/move", params=query).status_code == 409
    assert client.post("workspace/file/copy", params=query).status_code == 409
    assert content(client, where, "/b.txt") == b"b"
    assert client.post("workspace/file/copy", params={**query, "overwrite": "true"}).status_code == 201
    assert content(client, where, "/b.txt") == b"a"
    taken = {**where, "file_path": "/a.txt", "file_name": "b.txt"}
    assert client.request("PUT", "workspace/file/rename", params=taken).status_code == 409
    inside = {**where, "file_path": "/a.txt", "file_name": "c/d"}
    assert client.request("PUT", "workspace/file/rename", params=inside).status_code == 400


def test_a_folder_cannot_go_into_itself(client, where):
    upload(client, where, "/a/b.txt")
    query = {**where, "source_file_path": "/a", "destination_file_path": "/a/b"}
    assert client.request("PUT", "workspace/file/move", params=query).status_code == 409
    assert client.post("workspace/file/copy", params=query).status_code == 409
    assert paths(client, where) == ["/a", "/a/b.txt"]


def test_a_folder_is_downloaded_as_a_zip(client, where):
    upload(client, where, "/a/b/c.txt", b"c")
    upload(client, where, "/a.txt", b"not in the folder")
    answer = client.get("workspace/file/download", params={**where, "file_path": "/a"})
    assert answer.headers["content-disposition"] == 'attachment; filename="a.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["a/b/", "a/b/c.txt"]
        assert archive.read("a/b/c.txt") == b"c"


def test_a_notebook_is_a_file_that_only_the_notebook_changes(client, where):
    body = {"notebook_name": "of files", "notebook_type": "python3", "notebook_path": "/notes"}
    notebook = client.post(f"workspace/{where['workspace_id']}/notebook", body).json()["notebook_id"]
    assert paths(client, where) == ["/notes/of files.ipynb"]
    query = {**where, "file_id": notebook}
    assert client.get("workspace/file", params=query).json()["notebook_id"] == notebook
    assert client.request("DELETE", "workspace/file", params=query).status_code == 409
    assert upload(client, where, "/notes/of files.ipynb", overwrite="true").status_code == 409
    copied = {**where, "source_file_id": notebook, "destination_file_path": "/copy.ipynb"}
    assert client.post("workspace/file/copy", params=copied).json()["notebook_id"] is None
    assert b'"cells"' in content(client, where, "/copy.ipynb")


def test_search_finds_parts_of_names_and_answers_404_otherwise(client, where):
    upload(client, where, "/a/Report.csv")
    query = {**where, "file_name": "port", "recursive": "true"}
    found = client.get("workspace/files/search", params=query).json()["data"]
    assert [file["file_path"] for file in found] == ["/a/Report.csv"]
    assert client.get("workspace/files/search", params={**query, "is_git": "true"}).status_code == 404
    assert client.get("workspace/files/search", params={**query, "recursive": "false"}).status_code == 404
    assert client.get("workspace/files", params={**where, "file_path": "/nowhere"}).status_code == 404


def test_a_body_that_is_too_large_or_of_another_size_is_not_kept(client, where, yeedu_mock, monkeypatch):
    monkeypatch.setattr(files, "MAX_WORKSPACE_BYTES", 10)
    assert upload(client, where, "/a.txt", b"x" * 10).status_code == 201
    assert upload(client, where, "/b.txt", b"x").status_code == 413
    assert upload(client, where, "/a.txt", b"y" * 10, overwrite="true").status_code == 201
    wrong = client.session.post(
        f"{client.url}/api/v1/workspace/files",
        params={**where, "path": "/c.txt"},
        headers={"Authorization": f"Bearer {client.token}", "X-File-Size": "5"},
        data=b"four",
        timeout=90,
    )
    assert wrong.status_code == 400
    assert paths(client, where) == ["/a.txt"]
    assert not list((yeedu_mock.settings.state_directory / "files").glob(".upload-*"))


def test_files_survive_a_restart_and_go_with_a_reset(tmp_path, anonymous):
    settings = default_settings(tmp_path)
    demo = {"workspace_id": 1}

    def log_in(mock):
        anonymous.url, anonymous.token = mock.url, ""
        anonymous.log_in("demo", "demo-password")
        anonymous.post(f"user/select/{mock.tenant}")

    with running_mock(settings) as mock:
        log_in(mock)
        upload(anonymous, demo, "/a.txt", b"kept")
    with running_mock(settings) as mock:
        log_in(mock)
        assert content(anonymous, demo, "/a.txt") == b"kept"
        assert anonymous.session.post(f"{mock.url}/_control/reset", timeout=90).status_code == 200
        log_in(mock)
        assert content(anonymous, demo, "/a.txt") == 404
        assert not list((tmp_path / "files").iterdir())


def test_files_are_out_of_reach_of_another_tenant(client, anonymous, where, yeedu_mock):
    upload(client, where, "/a.txt")
    anonymous.token = ""
    anonymous.log_in("demo", yeedu_mock.settings.password)
    anonymous.post(f"user/select/{OTHER_TENANT}")
    assert content(anonymous, where, "/a.txt") == 404
