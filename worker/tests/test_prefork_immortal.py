"""Objects that are immortal are used without being written to, and nothing else changes about them."""

import sys
from pathlib import Path

from own_process import run_python

PROGRAM = """
import json, os, sys
from yeedu_worker.prefork.immortal import make_immortal

known = {"text": "a text of its own", "list": [1, [2]], "call": lambda: 3}
counted = sys.getrefcount(known["list"])
made = make_immortal()
more = [known["list"]] * 100
is_counted = sys.getrefcount(known["list"]) == counted + 100
known["list"].append(known["text"])
known["late"] = object()
del known["call"], more
child = os.fork()
if not child:
    known.clear()
    os._exit(4)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps([made, is_counted, known["list"], sorted(known), status]))
"""


def test_objects_are_as_before_but_nobody_counts_their_users(tmp_path: Path) -> None:
    made, is_counted, found, names, status = run_python(PROGRAM, tmp_path)
    assert (found, names, status) == ([1, [2], "a text of its own"], ["late", "list", "text"], 4)
    if sys.version_info[:2] in ((3, 12), (3, 13)):
        assert made > 10_000
        assert not is_counted
    else:  # where the interpreter has another way, or none, all is left alone
        assert made == 0
        assert is_counted
