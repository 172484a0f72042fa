"""Flow code that is imported reads no secret, leaves nothing behind, and spoils nobody's answer."""

# ruff: noqa: E501 - tables of whole sentences read best with a case on each line

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from yeedu_deployer.errors import FlowError
from yeedu_deployer.inspection import confinement, flow_loader
from yeedu_deployer.inspection.inspector import FlowInspector, Wanted

HEAD = "from prefect import flow\n"
GOOD = HEAD + "@flow\ndef run(): ...\n"
CANARY = "canary-of-the-deployer"

# Looks for the canary in every file and process that might have it, as the user that it is.
THIEF = """
import ctypes, json, os
from pathlib import Path
from prefect import flow
found = {}
def look(path):
    try:
        text = Path(path).read_bytes().decode("utf-8", "replace")
        found[str(path)] = "canary" if "canary-of-" in text else "nothing"
    except OSError as error:
        found[str(path)] = type(error).__name__
for process in [name for name in os.listdir("/proc") if name.isdigit()]:
    if int(process) != os.getpid():
        look(f"/proc/{process}/environ")
for way in ("root", "cwd"):  # to a file that this process could not open by its own name
    look(f"/proc/{os.environ['DEPLOYER']}/{way}/{json.loads(os.environ['PLACES'])[0]}")
system = ctypes.CDLL(None, use_errno=True)
attached = system.ptrace(16, int(os.environ["DEPLOYER"]), 0, 0)
found["ptrace"] = "canary" if attached == 0 else type(OSError(ctypes.get_errno(), "")).__name__
for path in json.loads(os.environ["PLACES"]):
    look(path)
try:
    found["memory"] = "canary" if open(f"/proc/{os.environ['DEPLOYER']}/mem", "rb") else ""
except OSError as error:
    found["memory"] = type(error).__name__
try:
    os.kill(int(os.environ["DEPLOYER"]), 0)
    found["signal"] = "canary"
except OSError as error:
    found["signal"] = type(error).__name__
@flow(description=json.dumps(found))
def run(): ...
"""
DEPLOYER = """
import json, os, sys
from pathlib import Path
from yeedu_deployer.inspection.inspector import FlowInspector, Wanted
environment = {"DEPLOYER": str(os.getpid()), "PLACES": sys.argv[2]}
with FlowInspector() as inspector:
    (found,) = inspector.inspect(Path(sys.argv[1]), [Wanted("thief.py:run", environment=environment)])
print(found.description)
"""
has_landlock = pytest.mark.skipif(
    subprocess.run(
        [sys.executable, "-c", "from yeedu_deployer.inspection.confinement import *; exit(not confine([], [], []))"],
        check=False,
    ).returncode != 0,
    reason="this kernel has no Landlock",
)  # fmt: skip


@has_landlock
def test_flow_code_reads_no_secret_of_the_deployers(tmp_path):
    clone, secrets, home = (tmp_path / name for name in ("clone", "secrets", "home"))
    for folder in (clone, secrets, home):
        folder.mkdir()
    (clone / "thief.py").write_text(THIEF)
    (secrets / "token").write_text(CANARY)
    (secrets / "token").chmod(0o444)
    (home / "profiles.toml").write_text(CANARY)
    places = [str(secrets / "token"), str(home / "profiles.toml"), str(clone / "thief.py")]
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {"PREFECT_API_AUTH_STRING": CANARY, "FLOWS_GIT_TOKEN_FILE": str(secrets / "token")}

    run = subprocess.run(
        [sys.executable, "-P", "-c", DEPLOYER, str(clone), json.dumps(places)],
        env=environment | {"HOME": str(home), "TMPDIR": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(run.stdout)
    assert found[places[-1]] == "canary", "the thief can read what is its own"
    others = {place: what for place, what in found.items() if place != places[-1]}
    has_ended = {"ProcessLookupError", "FileNotFoundError"}  # since the processes were listed
    refused = {
        what for place, what in others.items() if not (place.endswith("/environ") and what in has_ended)
    }
    assert refused == {"PermissionError"}
    assert len([place for place in others if place.endswith("/environ")]) > 1


# Without a privilege, root has no more than any other user has among processes of its own.
UNPRIVILEGED = """
import ctypes, os, struct, subprocess, sys
from yeedu_deployer.inspection.confinement import hide_own_memory
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
ctypes.CDLL(None).capset(struct.pack("=Ii", 0x20080522, 0), bytes(24))
if sys.argv[1] == "hides":
    hide_own_memory()
reader = "from pathlib import Path; import sys; print(Path('/proc', sys.argv[1], 'environ').read_bytes())"
subprocess.run([sys.executable, "-c", reader, str(os.getpid())])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(("hides", "sees"), [("no", CANARY), ("hides", "PermissionError")])
def test_a_process_hides_its_environment_without_landlock_too(hides, sees):
    run = subprocess.run(
        [sys.executable, "-P", "-c", UNPRIVILEGED, hides],
        env={"SECRET": CANARY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sees in run.stdout + run.stderr
    assert (CANARY in run.stdout) == (hides == "no")


@has_landlock
def test_what_is_hidden_stays_so_inside_of_what_is_readable(tmp_path):
    (tmp_path / "open/inner").mkdir(parents=True)
    for name in ("open/one", "open/inner/two", "open/inner/hidden"):
        (tmp_path / name).write_text(name)
    (tmp_path / "open/link").symlink_to("inner/hidden")
    program = """
import sys
from pathlib import Path
from yeedu_deployer.inspection.confinement import SYSTEM, confine
folder = Path(sys.argv[1])
assert confine([*SYSTEM, sys.prefix, folder], [], [folder / "inner/hidden"])
for name in ("one", "inner/two", "inner/hidden", "link"):
    try:
        print((folder / name).read_text())
    except OSError as error:
        print(type(error).__name__)
"""
    arguments = [sys.executable, "-P", "-c", program, str(tmp_path / "open")]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["open/one", "open/inner/two", "PermissionError", "PermissionError"]


def await_end(process):
    """Wait until the kernel has ended a process; its parent may not have noticed, and it may be gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[0] != "Z":
            os.sched_yield()  # it is about to end; the test's time limit is the deadline


FORKS = """
import os, signal
from prefect import flow
child = os.fork()
if child == 0:
    signal.pause()
@flow(description=str(child))
def run(): ...
"""


def test_a_process_that_an_import_starts_is_ended_with_it(inspector, tmp_path):
    (tmp_path / "one.py").write_text(FORKS)
    began = time.monotonic()
    (found,) = inspector.inspect(tmp_path, [Wanted("one.py:run")])
    assert time.monotonic() - began < flow_loader.IMPORT_TIMEOUT_SECONDS / 2
    await_end(found.description)


def test_an_inspector_whose_child_died_has_a_new_one_for_the_next_question(tmp_path):
    (tmp_path / "one.py").write_text(GOOD)
    with FlowInspector() as inspector:
        for _ in range(2):
            with pytest.raises(FlowError, match="The process that imports the flows failed: FileNotFound"):
                inspector.inspect(tmp_path / "missing", [Wanted("one.py:run")])
            (found,) = inspector.inspect(tmp_path, [Wanted("one.py:run")])
            assert found.name == "run"


BLOCKS = """
import os
from prefect import flow
open("began", "w").write(str(os.getpid()))
open("gate").read()
@flow(name="late")
def run(): ...
"""


def test_a_late_answer_is_not_taken_for_the_next_one(tmp_path):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "late.py").write_text(BLOCKS)
    os.mkfifo(tmp_path / "gate")
    with FlowInspector() as inspector:
        inspector.inspect(tmp_path, [Wanted("good.py:run")])
        inspector._connection.settimeout(8)
        with pytest.raises(FlowError, match="No flow was imported within"):
            inspector.inspect(tmp_path, [Wanted("late.py:run")])
        late = int((tmp_path / "began").read_text())
        (found,) = inspector.inspect(tmp_path, [Wanted("good.py:run")])
    assert found.name == "run"
    await_end(late)


def test_a_terminal_sees_one_line_that_counts_and_goes_away(tmp_path):
    for number in range(3):
        (tmp_path / f"flow{number}.py").write_text(GOOD.replace("run", f"run{number}"))
    program = f"""
from pathlib import Path
from yeedu_deployer.inspection.inspector import FlowInspector, Wanted
with FlowInspector() as inspector:
    print(len(inspector.inspect(Path({str(tmp_path)!r}), [Wanted(f"flow{{n}}.py:run{{n}}") for n in range(3)])))
"""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert child.communicate()[0] == b"3\n"
    assert b"Importing flows" in shown
    assert shown.rstrip().endswith(b"\x1b[2K")  # the line is erased
    assert b"\n\n" not in shown


def test_a_kernel_without_landlock_confines_nothing(monkeypatch):
    monkeypatch.setattr(confinement.sys, "platform", "darwin")
    assert confinement.confine([], [], []) is False
