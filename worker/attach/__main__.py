"""Starts the program from its folder, wherever that is: ``python3 worker/attach COMMAND``."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - older Pythons must be able to parse this, and say so
    sys.exit("attach: Python 3.11 or newer is needed, and this is %s" % sys.version.split()[0])  # noqa: UP031

if __name__ == "__main__":
    # Replaces this folder, whose modules must be importable only as part of their package.
    worker = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    sys.path[:1] = [worker, os.path.join(worker, "src")]  # noqa: PTH118 - holds `yeedu_worker`

    from attach.cli import main

    main()
