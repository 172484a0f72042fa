"""Prepares what a job's process runs: source text, a workspace's file, SQL statements, or a function."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from yeedu_mock.errors import MockError
from yeedu_mock.state.enums import JobType
from yeedu_mock.state.paths import ROOT, absolute, is_below, parent_of
from yeedu_mock.state.records import Workspace

if TYPE_CHECKING:
    from yeedu_mock.state.files import WorkspaceFiles
    from yeedu_mock.state.records import JobDefinition
    from yeedu_mock.state.store import Store

FILES = "file:///files"
SQL_PROGRAM = Path(__file__).with_name("sql_program.py")
FUNCTION_PROGRAM = Path(__file__).with_name("function_program.py")
PYTHON = (sys.executable, "-u")


class FunctionSettings(BaseModel):
    """The settings of a job of the type YEEDU_FUNCTIONS."""

    yeedu_functions_script_path: str = Field(pattern=rf"^{FILES}/.+\.py$")
    yeedu_functions_function_name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    yeedu_functions_project_path: str | None = Field(default=None, pattern=rf"^{FILES}(/.*)?$")
    yeedu_functions_requirements: str | None = None
    yeedu_functions_max_request_concurrency: int = Field(default=1, ge=1, le=512)
    yeedu_functions_request_timeout_sec: int = Field(default=60, ge=1, le=900)
    yeedu_functions_idle_timeout_sec: int = Field(default=300, ge=300, le=172_800)

    @property
    def script(self) -> str:
        """The script's path in the workspace."""
        return absolute(self.yeedu_functions_script_path.removeprefix(FILES))

    @property
    def project(self) -> str:
        """The folder in the workspace that the script may import from."""
        given = self.yeedu_functions_project_path
        return parent_of(self.script) if given is None else absolute(given.removeprefix(FILES))


class Programs:
    """Puts what a run's process runs into the run's folder.

    Args:
        store: Knows the workspaces.
        files: Their files.
    """

    def __init__(self, store: Store, files: WorkspaceFiles) -> None:
        self._store = store
        self._files = files

    def prepare(self, definition: JobDefinition, folder: Path) -> list[str]:
        """Return the command that runs a job in a folder, without the run's arguments.

        Raises:
            ValueError: The mock cannot run it; the message says why.
        """
        try:
            return self._prepare(definition, folder)
        except MockError as error:  # a file that the workspace does not have
            raise ValueError(error.message) from error

    def _prepare(self, definition: JobDefinition, folder: Path) -> list[str]:
        if definition.job_type == JobType.YEEDU_FUNCTIONS:
            return self._function(definition, folder)
        if definition.is_command and definition.program.startswith(f"{FILES}/"):
            path = absolute(definition.program.removeprefix(FILES))
            if not path.endswith(".py"):
                raise ValueError(f"The mock cannot run {path}, only Python files.")
            self._copy(definition.workspace_id, path, folder / "program.py")
            return [*PYTHON, str(folder / "program.py")]
        if definition.program:
            is_shell = definition.is_command or definition.language.casefold() == "shell"
            program = folder / ("program.sh" if is_shell else "program.py")
            program.write_text(definition.program, encoding="utf-8")
            return ["/bin/sh" if is_shell else sys.executable, *([] if is_shell else ["-u"]), str(program)]
        code: Any = definition.settings.get("job_rawScalaCode")
        if isinstance(code, str) and definition.language.casefold() == "sql":
            (folder / "program.sql").write_text(code, encoding="utf-8")
            return [*PYTHON, str(SQL_PROGRAM), str(folder / "program.sql")]
        raise ValueError(
            "The mock cannot run this kind of job; give it a job_command, SQL, or program: Python text."
        )

    def _function(self, definition: JobDefinition, folder: Path) -> list[str]:
        function = FunctionSettings.model_validate(definition.settings)
        workspace = self._workspace(definition.workspace_id)
        project = folder / "project"
        for file in self._files.all(workspace):
            if not file.is_folder and is_below(file.path, function.project):
                target = project / file.path.removeprefix(function.project).lstrip(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.write_content(file, target)
        script = project / function.script.removeprefix(function.project).lstrip(ROOT)
        if not script.is_file():
            raise ValueError(f"There is no {function.script} below {function.project} in the workspace.")
        served = (script, function.yeedu_functions_function_name, function.yeedu_functions_idle_timeout_sec)
        return [*PYTHON, str(FUNCTION_PROGRAM), str(project), *map(str, served)]

    def _copy(self, workspace_id: int, path: str, target: Path) -> None:
        self._files.write_content(self._files.find(self._workspace(workspace_id), None, path), target)

    def _workspace(self, workspace_id: int) -> Workspace:
        workspace = self._store.get(Workspace, workspace_id)
        if workspace is None:
            raise ValueError(f"There is no workspace {workspace_id}.")
        return workspace
