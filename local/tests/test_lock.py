"""One command at a time."""

from pathlib import Path

import pytest

from local.errors import CommandError
from local.lock import exclusive


def test_second_command_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    import os

    with (
        exclusive(tmp_path / "lock"),
        pytest.raises(CommandError, match=rf"at work on this checkout's platform \(process {os.getpid()}\)"),
        exclusive(tmp_path / "lock"),
    ):
        pass
    with exclusive(tmp_path / "lock"):
        pass


def test_lock_ends_with_the_command_even_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock"):
        _ = 1 / 0
    with exclusive(tmp_path / "lock"):
        pass
