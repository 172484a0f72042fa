"""Computes Prefect's settings and logging configuration once for all flow runs with the same environment.

They are a third of the cost of starting a flow run, and depend on little: environment variables, and files
that rarely exist. If one does, the flow run's own process reads it, as it would without a prefork server.
"""

import contextlib
import copy
import io
import os
import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

# The files in which Prefect looks for settings, in a process's working directory.
_FILES = (b".env", b"prefect.toml", b"pyproject.toml")
_MOST_KNOWN = 16

Environment = dict[bytes, bytes]
_CONTEXT = Place("prefect.context:GLOBAL_SETTINGS_CONTEXT")
_WORK_OUT = Place("prefect.context:root_settings_context", "()")
_LOAD = Place("prefect.logging.configuration:load_logging_config", "(path)")
_DEFAULTS = Place("prefect.logging.configuration:DEFAULT_LOGGING_SETTINGS_PATH")
_SET_UP = Place(
    "prefect.logging.configuration:setup_logging",
    "(incremental=)",
    ("load_logging_config", "DEFAULT_LOGGING_SETTINGS_PATH"),
)


@PATCHES.declare(
    "settings of flow runs",
    _CONTEXT,
    _WORK_OUT,
    _LOAD,
    _SET_UP,
    _DEFAULTS,
    purpose="settings and logging are worked out once for flow runs of the same environment, not by each",
)
def reuse_settings() -> None:
    """Replace nothing yet: `Settings.use` does, in a flow run's process."""


@dataclass(frozen=True)
class Settings:
    """What Prefect derives from an environment.

    Attributes:
        context: Its settings, with the profile that they come from.
        logging: Its configuration of logging.
        absent: Files that would change all this if they existed.
    """

    context: Any
    logging: dict[str, Any]
    absent: tuple[Path, ...]

    def use(self) -> None:
        """Make them this process's settings, and set up its logging."""
        _CONTEXT.replace(self.context)
        load = _LOAD.find()
        _LOAD.replace(self._copy_logging)
        try:
            _SET_UP.find()()
        finally:
            _LOAD.replace(load)

    def _copy_logging(self, _path: Path) -> dict[str, Any]:
        return copy.deepcopy(self.logging)


@dataclass
class SettingsOfRuns:
    """The settings computed so far, by the variables that they depend on."""

    _known: dict[frozenset[tuple[bytes, bytes]], Settings | None] = field(
        default_factory=dict[frozenset[tuple[bytes, bytes]], Settings | None]
    )

    def of(self, environment: Environment, directory: bytes) -> Settings | None:
        """Return the settings that a process with that environment would have, if it started in that folder.

        Returns:
            `None` if they depend on files, if Prefect complains about them, or if it is not known that this
            Prefect does no more than this.
        """
        if reuse_settings.why_not:
            return None
        if any(os.path.exists(os.path.join(directory, name)) for name in _FILES):  # noqa: PTH110, PTH118
            return None
        variables = frozenset(pair for pair in environment.items() if _is_read(pair[0]))
        if variables not in self._known:
            while len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[variables] = _work_out(environment, directory)
        settings = self._known[variables]
        if settings is None or any(path.exists() for path in settings.absent):
            return None
        return settings


def _is_read(name: bytes) -> bool:
    """Tell whether settings depend on a variable; names with ``PREFECT__`` tell a process about its run."""
    return name == b"HOME" or (name.upper().startswith(b"PREFECT_") and not name.startswith(b"PREFECT__"))


def _work_out(environment: Environment, directory: bytes) -> Settings | None:
    """Return what Prefect derives from an environment, or `None` if it complains."""
    complaints = io.StringIO()
    own_context = _CONTEXT.find()
    try:
        with (
            _in_place_of_this_process(environment, directory),
            warnings.catch_warnings(record=True) as warned,
            contextlib.redirect_stderr(complaints),
        ):
            warnings.simplefilter("always")
            context = _WORK_OUT.find()()
            _CONTEXT.replace(context)
            logging = _LOAD.find()(_DEFAULTS.find())
    except Exception:  # noqa: BLE001 - the run's own process reports it, where it belongs
        return None
    finally:
        _CONTEXT.replace(own_context)
    if warned or complaints.getvalue():
        return None
    return Settings(context, logging, (context.settings.profiles_path, context.settings.logging.config_path))


@contextlib.contextmanager
def _in_place_of_this_process(environment: Environment, directory: bytes) -> Generator[None]:
    """Change this process's environment and working folder for a while; it has only one thread."""
    own, folder = dict(os.environb), os.getcwdb()  # noqa: PTH109
    try:
        os.environb.clear()
        os.environb.update(environment)
        os.chdir(directory)
        yield
    finally:
        os.chdir(folder)
        os.environb.clear()
        os.environb.update(own)
