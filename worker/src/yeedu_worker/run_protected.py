"""Runs a module protected from others: ``python -m yeedu_worker.run_protected MODULE [ARGUMENT ...]``.

The protection holds from the start: a program with slow imports would be readable while they run.
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
