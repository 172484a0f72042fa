"""What a flow leaves behind is dealt with as at the end of an interpreter of its own."""

import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, CompletedProcess
from typing import IO

import pytest

# A flow, and a module of its repository, which make what an interpreter takes care of at its end.
FLOW = """
from yeedu_worker.prefork.ending import end
import atexit, functools, os, sys, threading, time, types

kept = [module for name, module in sys.modules.items() if name != "__main__"]
tell = functools.partial(os.write, os.open("told", os.O_CREAT | os.O_WRONLY))

class Finalized:
    def __init__(self, name):
        self.name, self.tell = name, tell
    def __del__(self):
        self.tell(f"finalized {self.name}|".encode())

class InCycle(Finalized):
    def __init__(self, name):
        super().__init__(name)
        self.itself = self

def end_late():
    time.sleep(0.2)
    tell(b"thread ended|")

made = types.ModuleType("made")
made._private, made.public = Finalized("private"), Finalized("public")
sys.modules["made"] = made
del made
in_main, in_cycle = Finalized("in main"), InCycle("in cycle")
atexit.register(tell, b"exit handler|")
atexit.register(lambda: 1 / 0)
threading.Thread(target=end_late).start()
left_open = open("left-open", "w")
left_open.write("written at the end")
print("no line end", end="")
"""
DAEMON = """
def go_on():
    while True:
        time.sleep(0.001)
        sys.modules, threading, tell(b"")

threading.Thread(target=go_on, daemon=True).start()
"""
WRITING = """
from yeedu_worker.prefork.ending import end
import sys

kept = [*sys.modules.values()]
print("what cannot be written")
"""
AS_EVER = "\nsys.exit(3)"
AS_A_FORK = "\nend(3, kept)"


def run(program: str, folder: Path, output: IO[str] | int = PIPE) -> "CompletedProcess[str]":
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, cwd=folder, stdout=output, stderr=PIPE, text=True, timeout=250)


def leave(folder: Path, program: str) -> tuple[int, str, list[str]]:
    """Run the flow, and return its exit code, output, and what it told in order."""
    folder.mkdir()
    done = run(program, folder)
    assert "ZeroDivisionError" in done.stderr
    assert (folder / "left-open").read_text() == "written at the end"
    return done.returncode, done.stdout, (folder / "told").read_text().split("|")


def test_fork_ends_as_an_interpreter_of_its_own(tmp_path: Path) -> None:
    code, output, told = leave(tmp_path / "own", FLOW + AS_EVER)
    assert leave(tmp_path / "fork", FLOW + AS_A_FORK) == (code, output, told)
    assert (code, output) == (3, "no line end")
    assert told[:2] == ["thread ended", "exit handler"]
    assert {"finalized private", "finalized public", "finalized in main", "finalized in cycle"} < set(told)


def test_thread_that_goes_on_for_ever_is_not_waited_for(tmp_path: Path) -> None:
    code, output, _ = leave(tmp_path / "fork", FLOW + DAEMON + AS_A_FORK)
    assert (code, output) == (3, "no line end")


@pytest.mark.parametrize("ending", [AS_EVER, AS_A_FORK])
def test_output_that_cannot_be_written_makes_an_exit_code(tmp_path: Path, ending: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(WRITING + ending, tmp_path, full)
    assert done.returncode == 120
    assert "No space left" in done.stderr
