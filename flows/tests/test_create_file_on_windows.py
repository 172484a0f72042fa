"""The flow create-file-on-windows: elsewhere its refusal, what it passes to cmd.exe, and there the file."""

import os
import sys
from pathlib import Path

import pytest

from create_file_on_windows import FileCreationError, build_command, create_file_on_windows

SPECIAL = '& | < > ^ % %PATH% ! !PATH! "quoted" ( ) ; , = `backtick` \' /? end^'
ON_WINDOWS = sys.platform == "win32"


@pytest.mark.skipif(ON_WINDOWS, reason="this system is the right one")
def test_another_system_is_told_which_pool_the_flow_belongs_to(prefect_server: str) -> None:
    state = create_file_on_windows(return_state=True)
    assert state.is_failed()
    assert "needs Windows" in (state.message or "")
    assert "windows-pool" in (state.message or "")


def test_nothing_of_path_and_content_is_on_the_command_line() -> None:
    path = r"C:\Users\R&D (100%)\it's ^here!.txt"
    command, variables = build_command(path, f"{SPECIAL}\nsecond & line")
    assert variables == {"FILE_PATH": path, "LINE_0": SPECIAL, "LINE_1": "second & line"}
    assert command == (
        'cmd.exe /d /v:on /s /c "chcp 65001>nul&>"!FILE_PATH!" echo(!LINE_0!&&>>"!FILE_PATH!" echo(!LINE_1!"'
    )


@pytest.mark.parametrize(
    ("content", "echoes"),
    [
        ("", ["type nul"]),
        ("one\n", ["echo(!LINE_0!"]),
        ("one\r\n\rtwo", ["echo(!LINE_0!", "echo(", "echo(!LINE_2!"]),
        ("\n", ["echo("]),
        ("a\x0bb\u2028c", ["echo(!LINE_0!"]),
    ],
)
def test_each_line_of_the_content_is_one_echo(content: str, echoes: list[str]) -> None:
    command, variables = build_command("file.txt", content)
    writes = command.removesuffix('"').split("nul&", 1)[1].split("&&")
    assert [write.split('!FILE_PATH!" ')[1] for write in writes] == echoes
    assert [write.startswith('>>"') for write in writes] == [False] + [True] * (len(writes) - 1)
    assert all("\n" not in value and "\r" not in value for value in variables.values())


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ('C:\\a"b.txt', "", "which Windows file names cannot"),
        ("C:\\what?.txt", "", "which Windows file names cannot"),
        ("C:\\line\nbreak.txt", "", "which Windows file names cannot"),
        ("C:\\folder\\", "", "names no file"),
        ("", "", "names no file"),
        ("file.txt", "nul\0", "NUL character"),
        ("file.txt", "x" * 8_001, "8001 characters"),
        ("file.txt", "line\n" * 1_000, "1000 lines"),
    ],
)
def test_what_cmd_cannot_write_is_refused(path: str, content: str, sentence: str) -> None:
    with pytest.raises(FileCreationError) as caught:
        build_command(path, content)
    assert sentence in str(caught.value)


@pytest.mark.skipif(not ON_WINDOWS, reason="needs cmd.exe")
@pytest.mark.parametrize("content", [SPECIAL, "one\n\nGrüße, 世界\n", "", "   padded   "])
def test_the_file_has_every_character_of_the_content(
    prefect_server: str, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "R&D (100%) !now!.txt"
    assert create_file_on_windows(str(path), content) == str(path)
    expected = "".join(f"{line}{os.linesep}" for line in content.splitlines())
    assert path.read_bytes().decode() == expected
