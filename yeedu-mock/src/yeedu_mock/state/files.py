"""The files of workspaces: records in the store, bytes in one folder, under the records' ids.

A notebook counts as a file of its workspace too; its content is changed only through the notebook.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from typing import TYPE_CHECKING

from yeedu_mock.errors import BadRequestError, ConflictError, NotFoundError, TooLargeError
from yeedu_mock.state.paths import ROOT, absolute, is_below, join, parent_of
from yeedu_mock.state.records import NotebookDefinition, Workspace, WorkspaceFile

if TYPE_CHECKING:
    from pathlib import Path

    from yeedu_mock.state.store import Store

MAX_FILE_BYTES = 64 * 1024**2
MAX_WORKSPACE_BYTES = 512 * 1024**2
MAX_FILES = 10_000
UPLOAD_PREFIX = ".upload-"


class WorkspaceFiles:
    """The files of every workspace of one mock.

    Args:
        store: Where their records are kept.
        folder: Where their bytes are kept; created if missing.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(f"{UPLOAD_PREFIX}*"):
            left_over.unlink(missing_ok=True)

    def all(self, workspace: Workspace) -> list[WorkspaceFile]:
        """Return a workspace's files, folders and notebooks, sorted by path."""
        kept = [file for file in self._store.all(WorkspaceFile) if file.workspace_id == workspace.id]
        notebooks = [
            _file_of(notebook)
            for notebook in self._store.all(NotebookDefinition)
            if notebook.workspace_id == workspace.id
        ]
        return sorted(kept + notebooks, key=lambda file: file.path)

    def find(self, workspace: Workspace, file_id: int | None, path: str | None) -> WorkspaceFile:
        """Return a file or folder by its id or, without one, by its path.

        Raises:
            BadRequestError: Neither is given.
            NotFoundError: The workspace has no such file.
        """
        if file_id is None and path is None:
            raise BadRequestError("Give the id of the file, or its path.")
        wanted = None if file_id is not None or path is None else absolute(path)
        for file in self.all(workspace):
            if file.id == file_id if file_id is not None else file.path == wanted:
                return file
        called = file_id if file_id is not None else path
        raise NotFoundError(f"There is no file {called} in the workspace {workspace.id}.")

    def below(self, workspace: Workspace, folder: str, *, is_recursive: bool) -> list[WorkspaceFile]:
        """Return what is in a folder; with `is_recursive`, at any depth.

        Raises:
            NotFoundError: The workspace has no such folder.
        """
        found = [file for file in self.all(workspace) if is_below(file.path, folder)]
        if folder != ROOT and not found and not self.find(workspace, None, folder).is_folder:
            raise NotFoundError(f"{folder} is no folder.")
        return [file for file in found if is_recursive or parent_of(file.path) == folder]

    def content(self, file: WorkspaceFile) -> Path:
        """Return the path of a file's bytes.

        Raises:
            NotFoundError: They were removed from the state directory.
        """
        path = self._folder / str(file.id)
        if not path.is_file():
            raise NotFoundError(f"The content of the file {file.id} is gone.")
        return path

    def new_upload(self) -> Path:
        """Return a path to write bytes to, which `add_file` then takes over."""
        return self._folder / f"{UPLOAD_PREFIX}{secrets.token_hex(8)}"

    def add_file(
        self, workspace: Workspace, path: str, uploaded: Path, username: str, *, overwrite: bool
    ) -> WorkspaceFile:
        """Take over uploaded bytes as a file, creating the folders above it that are missing.

        Raises:
            ConflictError: Something else is there, or a file, and `overwrite` is off.
            TooLargeError: The workspace would be too large, or have too many files.
        """
        size = uploaded.stat().st_size
        present = self._at(workspace, path)
        _refuse_collision(path, present, overwrite=overwrite)
        self._refuse_excess(workspace, size - (present.size_bytes if present else 0))
        self._make_parents(workspace, path, username)
        file = present or self._store.add(
            WorkspaceFile(workspace_id=workspace.id, path=path, created_by=username)
        )
        uploaded.replace(self._folder / str(file.id))
        file.size_bytes = size
        self._store.save(file)
        return file

    def add_folder(self, workspace: Workspace, path: str, username: str, *, overwrite: bool) -> WorkspaceFile:
        """Create a folder, and the missing ones above it.

        Raises:
            ConflictError: A file or a folder is there; with `overwrite`, a folder is left as it is.
        """
        present = self._at(workspace, path)
        if present is not None and present.is_folder and overwrite:
            return present
        if present is not None or path == ROOT:
            raise ConflictError(f"There is a {path} already.")
        self._refuse_excess(workspace, 0)
        self._make_parents(workspace, path, username)
        return self._store.add(
            WorkspaceFile(workspace_id=workspace.id, path=path, is_folder=True, created_by=username)
        )

    def remove(self, workspace: Workspace, file: WorkspaceFile) -> list[WorkspaceFile]:
        """Remove a file, or a folder with everything in it; return what was removed.

        Raises:
            ConflictError: It is, or contains, a notebook.
        """
        removed = self._with_content(workspace, file)
        for one in removed:
            self._store.remove(one)
            (self._folder / str(one.id)).unlink(missing_ok=True)
        return removed

    def move(
        self, workspace: Workspace, file: WorkspaceFile, destination: str, username: str, *, overwrite: bool
    ) -> WorkspaceFile:
        """Move a file, or a folder with everything in it, to another path.

        Raises:
            ConflictError: It is, or contains, a notebook; or something is at the destination.
        """
        moved = self._with_content(workspace, file)
        self._clear(workspace, file, destination, overwrite=overwrite)
        self._make_parents(workspace, destination, username)
        before = file.path
        for one in moved:
            one.path = destination + one.path.removeprefix(before)
            self._store.save(one)
        return file

    def copy(
        self, workspace: Workspace, file: WorkspaceFile, destination: str, username: str, *, overwrite: bool
    ) -> WorkspaceFile:
        """Copy a file, a notebook's content, or a folder with everything in it.

        Raises:
            ConflictError: Something is at the destination.
            TooLargeError: The workspace would be too large.
        """
        originals = [file, *(one for one in self.all(workspace) if is_below(one.path, file.path))]
        self._refuse_excess(workspace, sum(one.size_bytes for one in originals), len(originals))
        self._clear(workspace, file, destination, overwrite=overwrite)
        for one in originals:
            path = destination + one.path.removeprefix(file.path)
            if one.is_folder:
                self.add_folder(workspace, path, username, overwrite=True)
                continue
            upload = self.new_upload()
            try:
                self.write_content(one, upload)
                self.add_file(workspace, path, upload, username, overwrite=True)
            finally:
                upload.unlink(missing_ok=True)
        return self.find(workspace, None, destination)

    def write_content(self, file: WorkspaceFile, target: Path) -> None:
        """Write a file's bytes, or a notebook's, to a path."""
        notebook = None if file.notebook_id is None else self._store.get(NotebookDefinition, file.notebook_id)
        if notebook is not None:
            target.write_bytes(_content_of(notebook))
        else:
            shutil.copyfile(self.content(file), target)

    def clear(self) -> None:
        """Remove all bytes; the records go with the store."""
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                path.unlink()

    def _at(self, workspace: Workspace, path: str) -> WorkspaceFile | None:
        return next((file for file in self.all(workspace) if file.path == path), None)

    def _with_content(self, workspace: Workspace, file: WorkspaceFile) -> list[WorkspaceFile]:
        found = [file, *(one for one in self.all(workspace) if is_below(one.path, file.path))]
        for one in found:
            if one.notebook_id is not None:
                raise ConflictError(f"{one.path} belongs to the notebook {one.notebook_id}; change that one.")
        return found

    def _clear(self, workspace: Workspace, file: WorkspaceFile, destination: str, *, overwrite: bool) -> None:
        """Make room at a destination for a file or folder."""
        if destination == file.path or is_below(destination, file.path):
            raise ConflictError(f"{file.path} cannot go to {destination}: that is itself, or in it.")
        present = self._at(workspace, destination)
        _refuse_collision(destination, present, overwrite=overwrite)
        if present is not None:
            self.remove(workspace, present)

    def _make_parents(self, workspace: Workspace, path: str, username: str) -> None:
        folder = parent_of(path)
        if folder != ROOT:
            self.add_folder(workspace, folder, username, overwrite=True)

    def _refuse_excess(self, workspace: Workspace, more_bytes: int, more_files: int = 1) -> None:
        files = [file for file in self._store.all(WorkspaceFile) if file.workspace_id == workspace.id]
        if sum(file.size_bytes for file in files) + more_bytes > MAX_WORKSPACE_BYTES:
            raise TooLargeError(
                f"The workspace's files would be larger than {MAX_WORKSPACE_BYTES >> 20} MiB."
            )
        if len(files) + more_files > MAX_FILES:
            raise TooLargeError(f"The workspace would have more than {MAX_FILES} files.")


def _refuse_collision(path: str, present: WorkspaceFile | None, *, overwrite: bool) -> None:
    if path == ROOT or (present is not None and present.is_folder):
        raise ConflictError(f"{path} is a folder.")
    if present is not None and present.notebook_id is not None:
        raise ConflictError(f"{path} belongs to the notebook {present.notebook_id}.")
    if present is not None and not overwrite:
        raise ConflictError(f"There is a {path} already, and it is not to be overwritten.")


def _content_of(notebook: NotebookDefinition) -> bytes:
    return json.dumps(notebook.content).encode()


def _file_of(notebook: NotebookDefinition) -> WorkspaceFile:
    given = notebook.settings.get("notebook_path")
    folder = ROOT
    if isinstance(given, str):
        with contextlib.suppress(BadRequestError):
            folder = absolute(given)
    name = notebook.name.replace("/", "_") + ".ipynb"
    return WorkspaceFile(
        id=notebook.id,
        workspace_id=notebook.workspace_id,
        path=folder if folder.endswith(".ipynb") else join(folder, name),
        size_bytes=len(_content_of(notebook)),
        created_by=notebook.created_by,
        created_at=notebook.created_at,
        modified_at=notebook.modified_at,
        notebook_id=notebook.id,
    )
