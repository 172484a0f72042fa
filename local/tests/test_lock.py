"""One command at a time."""

import os
from pathlib import Path

import pytest

from local.errors import CommandError
from local.processes.lock import exclusive


def test_second_command_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    message = rf"running on this checkout's platform \(process {os.getpid()}\)"
    with exclusive(tmp_path / "lock"), pytest.raises(CommandError, match=message):
        exclusive(tmp_path / "lock").__enter__()
    with exclusive(tmp_path / "lock"):
        pass


def test_lock_ends_with_the_command_even_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock"):
        _ = 1 / 0
    with exclusive(tmp_path / "lock"):
        pass
