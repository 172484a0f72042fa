"""The files of a workspace: uploaded ones, and those of its notebooks."""

import asyncio
import mimetypes
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from yeedu_mock.errors import BadRequestError, NotFoundError, TooLargeError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import TheMock, TheSession, WorkspaceToEdit, WorkspaceToView
from yeedu_mock.routes.responses import PageLimit, PageNumber, attachment, json_file, one_page
from yeedu_mock.state.files import MAX_FILE_BYTES
from yeedu_mock.state.paths import ROOT, absolute, is_below, join, parent_of
from yeedu_mock.state.records import NotebookDefinition, Workspace, WorkspaceFile

router = APIRouter(prefix="/workspace", tags=["workspace files"])

Overwrite = Annotated[bool, Query()]


async def _to_view(
    mock: TheMock, workspace: WorkspaceToView, file_id: int | None = None, file_path: str | None = None
) -> WorkspaceFile:
    return mock.files.find(workspace, file_id, file_path)


async def _to_edit(
    mock: TheMock, workspace: WorkspaceToEdit, file_id: int | None = None, file_path: str | None = None
) -> WorkspaceFile:
    return mock.files.find(workspace, file_id, file_path)


async def _source(
    mock: TheMock,
    workspace: WorkspaceToEdit,
    source_file_id: int | None = None,
    source_file_path: str | None = None,
) -> WorkspaceFile:
    return mock.files.find(workspace, source_file_id, source_file_path)


FileToView = Annotated[WorkspaceFile, Depends(_to_view)]
FileToEdit = Annotated[WorkspaceFile, Depends(_to_edit)]
SourceFile = Annotated[WorkspaceFile, Depends(_source)]


async def _destination(
    found: SourceFile, mock: TheMock, workspace: WorkspaceToEdit, destination_file_path: str
) -> str:
    destination = absolute(destination_file_path)
    is_folder = destination == ROOT or any(
        one.is_folder and one.path == destination for one in mock.files.all(workspace)
    )
    return join(destination, found.name) if is_folder else destination


Destination = Annotated[str, Depends(_destination)]


@router.get("/files/search")
@router.get("/files")
async def files(
    request: Request,
    mock: TheMock,
    workspace: WorkspaceToView,
    file_name: str = "",
    file_id: int | None = None,
    file_path: str | None = None,
    is_dir: bool | None = None,
    is_git: bool = False,
    recursive: bool = False,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List what is in a folder, by default the root; a search without results is a 404.

    The mock clones no git repositories, so a list of their files is always empty.
    """
    if file_id is not None:
        folder = mock.files.find(workspace, file_id, None).path
    else:
        folder = absolute(file_path or ROOT)
    found = [
        shown(file)
        for file in mock.files.below(workspace, folder, is_recursive=recursive)
        if file_name.casefold() in file.name.casefold()
        and (is_dir is None or is_dir == file.is_folder)
        and not is_git
    ]
    if not found and request.url.path.endswith("/search"):
        raise NotFoundError("No file was found.")
    return one_page(found, page_number, limit)


@router.post("/files", status_code=201)
async def upload(
    request: Request,
    mock: TheMock,
    session: TheSession,
    workspace: WorkspaceToEdit,
    path: str,
    target_dir: str | None = None,
    is_dir: bool = False,
    overwrite: Overwrite = False,
    size: Annotated[int | None, Header(alias="X-File-Size")] = None,
) -> dict[str, Any]:
    """Store the request's body as a file, or create a folder; `path` is relative to `target_dir`."""
    username = mock.sessions.user(session).username
    full_path = absolute(join(absolute(target_dir or ROOT), absolute(path)))
    if is_dir:
        return shown(mock.files.add_folder(workspace, full_path, username, overwrite=overwrite))
    uploaded = mock.files.new_upload()
    try:
        received = await _receive(request.stream(), uploaded)
        if size is not None and received != size:
            raise BadRequestError(f"X-File-Size says {size} bytes, but {received} were sent.")
        return shown(mock.files.add_file(workspace, full_path, uploaded, username, overwrite=overwrite))
    finally:
        uploaded.unlink(missing_ok=True)


@router.get("/file")
async def file(found: FileToView) -> dict[str, Any]:
    """Return the metadata of a file or folder."""
    return shown(found)


@router.delete("/file")
async def delete(found: FileToEdit, mock: TheMock, workspace: WorkspaceToEdit) -> dict[str, Any]:
    """Delete a file, or a folder with everything in it."""
    removed = mock.files.remove(workspace, found)
    return {"message": f"{found.path} is deleted.", "file_ids": [one.id for one in removed]}


@router.get("/file/usage")
async def usage(mock: TheMock, workspace: WorkspaceToView) -> dict[str, Any]:
    """Sum up a workspace's files."""
    found = mock.files.all(workspace)
    return {
        "workspace_id": workspace.id,
        "total_size_bytes": sum(one.size_bytes for one in found),
        "total_files": sum(not one.is_folder for one in found),
        "total_folders": sum(one.is_folder for one in found),
    }


@router.get("/file/download")
async def download(found: FileToView, mock: TheMock, workspace: WorkspaceToView) -> Response:
    """Return a file's bytes, or a folder as a zip; v1b reads a notebook's cells this way."""
    if found.is_folder:
        return await _zipped(mock, workspace, found)
    if found.notebook_id is not None:
        notebook = mock.store.get(NotebookDefinition, found.notebook_id)
        if notebook is not None:
            return json_file(notebook.content, f"{notebook.name}.ipynb")
    return FileResponse(mock.files.content(found), headers=attachment(found.name), media_type=_type_of(found))


@router.put("/file/rename")
async def rename(
    found: FileToEdit,
    mock: TheMock,
    session: TheSession,
    workspace: WorkspaceToEdit,
    file_name: str,
) -> dict[str, Any]:
    """Rename a file or folder within its folder."""
    name = absolute(file_name)
    if name != f"/{file_name}" or parent_of(name) != ROOT or name == ROOT:
        raise BadRequestError("The new name must be one name, not a path.")
    username = mock.sessions.user(session).username
    destination = join(parent_of(found.path), name)
    return shown(mock.files.move(workspace, found, destination, username, overwrite=False))


@router.put("/file/move")
async def move(
    found: SourceFile,
    mock: TheMock,
    session: TheSession,
    workspace: WorkspaceToEdit,
    destination: Destination,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Move a file or folder to a path, or into an existing folder."""
    username = mock.sessions.user(session).username
    return shown(mock.files.move(workspace, found, destination, username, overwrite=overwrite))


@router.post("/file/copy", status_code=201)
async def copy(
    found: SourceFile,
    mock: TheMock,
    session: TheSession,
    workspace: WorkspaceToEdit,
    destination: Destination,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Copy a file or folder to a path, or into an existing folder."""
    username = mock.sessions.user(session).username
    return shown(mock.files.copy(workspace, found, destination, username, overwrite=overwrite))


def shown(file: WorkspaceFile) -> dict[str, Any]:
    """Return a file in the API's form."""
    return {
        "file_id": file.id,
        "file_name": file.name,
        "file_path": file.path,
        "is_dir": file.is_folder,
        "file_size_bytes": file.size_bytes,
        "workspace_id": file.workspace_id,
        "notebook_id": file.notebook_id,
        "full_file_path": file.path,
        "created_by": {"username": file.created_by},
        "created_at": file.created_at.isoformat(),
        "last_update_date": file.modified_at.isoformat(),
    }


async def _receive(chunks: AsyncIterator[bytes], target: Path) -> int:
    """Write a body to a path and return its size.

    Raises:
        TooLargeError: The body is larger than a file may be.
    """
    received = 0
    with target.open("wb") as output:
        async for chunk in chunks:
            received += len(chunk)
            if received > MAX_FILE_BYTES:
                raise TooLargeError(f"The file is larger than {MAX_FILE_BYTES >> 20} MiB.")
            output.write(chunk)
    return received


async def _zipped(mock: Mock, workspace: Workspace, folder: WorkspaceFile) -> Response:
    target = mock.files.new_upload()
    content = [file for file in mock.files.all(workspace) if is_below(file.path, folder.path)]

    def write() -> None:
        part = mock.files.new_upload()
        try:
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in content:
                    name = file.path.removeprefix(join(parent_of(folder.path), ""))
                    if file.is_folder:
                        archive.writestr(f"{name}/", b"")
                    else:
                        mock.files.write_content(file, part)
                        archive.write(part, name)
        finally:
            part.unlink(missing_ok=True)

    try:
        await asyncio.to_thread(write)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return FileResponse(
        target,
        headers=attachment(f"{folder.name}.zip"),
        media_type="application/zip",
        background=BackgroundTask(target.unlink, missing_ok=True),
    )


def _type_of(file: WorkspaceFile) -> str:
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"
