"""Assembles a mock from its parts: store, sessions, runs, files."""

from __future__ import annotations

import secrets
import sqlite3
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yeedu_mock.control.control import Control
from yeedu_mock.control.switches import Switches
from yeedu_mock.execution.clusters import ClusterService
from yeedu_mock.execution.limits import Limits
from yeedu_mock.execution.programs import Programs
from yeedu_mock.execution.runs import RunService
from yeedu_mock.settings import Settings, SettingsError, ensure_password
from yeedu_mock.state.files import WorkspaceFiles
from yeedu_mock.state.seeds import seed
from yeedu_mock.state.sessions import Sessions
from yeedu_mock.state.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Mock:
    """Everything a request may need."""

    settings: Settings
    store: Store
    sessions: Sessions
    runs: RunService
    clusters: ClusterService
    files: WorkspaceFiles
    control: Control
    password: str = field(repr=False)
    generated_password_file: Path | None
    started_at: float = field(default_factory=time.monotonic)

    @property
    def uptime_seconds(self) -> float:
        """How long this mock has been running."""
        return time.monotonic() - self.started_at


def open_mock(settings: Settings) -> Mock:
    """Open the state directory and return its mock; nothing runs yet.

    Raises:
        SettingsError: The directory or the password cannot be used.
    """
    directory = settings.state_directory.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = directory / f".{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(f"The state directory {directory} cannot be used: {error.strerror}.") from error
    password, generated = ensure_password(settings)
    control = Control(Switches(stop_delay_seconds=settings.stop_delay_seconds).changed(settings.switches))
    try:
        store = Store(directory / "state.db", control.switches)
    except (sqlite3.Error, ValueError, KeyError) as error:
        raise SettingsError(
            f"The database {directory / 'state.db'} cannot be used ({type(error).__name__}); "
            "move it away, or give another --state-directory."
        ) from error
    seed(store, settings.username, password)
    files = WorkspaceFiles(store, directory / "files")
    runs = RunService(
        store,
        directory / "runs",
        directory / "home",
        Limits(time_seconds=settings.job_time_limit_seconds),
        spare_kernels=settings.spare_kernels,
        switches=control.switches,
        programs=Programs(store, files),
    )
    sessions = Sessions(store, control.switches)
    clusters = ClusterService(store, runs, control.switches)
    return Mock(settings, store, sessions, runs, clusters, files, control, password, generated)
