"""What a process asks the kernel for, tried by another one of the same, ordinary user."""

import sys
from pathlib import Path

import pytest
from own_process import run_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has prctl")

# Root may look into everything, so both become nobody first, which closes them until they open.
LOOK = """
import json, os, signal, sys
from yeedu_worker.prctl import close_to_others, open_to_others

if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
open_to_others()
ready, told = os.pipe()
if not (looked_at := os.fork()):
    if sys.argv[1] == "closed":
        close_to_others()
    os.write(told, b".")
    signal.pause()
os.read(ready, 1)
opened = []
for name, how in (("environ", os.O_RDONLY), ("maps", os.O_RDONLY), ("mem", os.O_RDWR)):
    try:
        os.close(os.open(f"/proc/{looked_at}/{name}", how))
        opened.append(name)
    except PermissionError:
        pass
os.kill(looked_at, signal.SIGKILL)
print(json.dumps(opened))
"""
ADOPT = """
import json, os, sys, time
from yeedu_worker.process_tree import end_children
from yeedu_worker.prctl import adopt_orphans

adopt_orphans()
if not os.fork():
    for _ in range(3):
        if not os.fork():
            os.setsid()
            if not os.fork():
                time.sleep(600)
            os._exit(0)
    os._exit(0)
ended = end_children()
try:
    os.waitpid(-1, os.WNOHANG)
    left = True
except ChildProcessError:
    left = False
print(json.dumps([ended, left]))
"""


@pytest.mark.parametrize(("how", "opened"), [("closed", []), ("open", ["environ", "maps", "mem"])])
def test_closed_process_is_not_looked_into(tmp_path: Path, how: str, opened: list[str]) -> None:
    assert run_python(LOOK, tmp_path, how) == opened


def test_orphans_that_left_their_session_are_ended(tmp_path: Path) -> None:
    assert run_python(ADOPT, tmp_path) == [True, False]
