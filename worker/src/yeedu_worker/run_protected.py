"""Runs a module closed to other processes: ``python -m yeedu_worker.run_protected MODULE [ARGUMENT ...]``.

A program that imports much would be open to them for as long as its imports take.
"""

import runpy
import sys
from contextlib import suppress

from yeedu_worker.prctl import close_to_others

if __name__ == "__main__":
    with suppress(OSError):
        close_to_others()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
