"""What is shown on a terminal, whatever others wrote into it."""

import io
from pathlib import Path

import pytest

from local.console import Console
from local.containers.compose_mode import ComposeMode
from local.errors import CommandError
from local.settings.platform import Settings

EVIL = "a\x1b]52;c;aGk=\x07\x1b[2Jb\rmake up: done"
SHOWN = "a\\x1b]52;c;aGk=\\x07\\x1b[2Jb\\rmake up: done"


def test_no_line_steers_the_terminal_and_lines_stay_lines() -> None:
    output = io.StringIO()
    console = Console(output)
    console.say(f"first\n{EVIL}\n\tlast\x1b[31m!\x1b[0m")
    console.step(EVIL)
    first, second, third, step = output.getvalue().splitlines()
    assert (first, second, third) == ("first", SHOWN, "\tlast!")
    assert step.endswith(f" s] {SHOWN}")


def test_logs_of_containers_are_shown_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\n"
        'test "$*" = "compose logs --follow --tail=100" || exit 9\n'
        "printf 'worker | a\\033]52;c;aGk=\\007\\033[2Jb\\rmake up: done\\r\\nworker | \\377 b\\n'\n"
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    mode = ComposeMode(Settings({}), Console())
    assert mode.logs() == 0
    assert capsys.readouterr().out == f"worker | {SHOWN}\nworker | \ufffd b\n"
    docker.write_text("#!/bin/sh\nexit 14\n")
    with pytest.raises(CommandError, match="`docker compose logs` failed with code 14"):
        mode.logs()
