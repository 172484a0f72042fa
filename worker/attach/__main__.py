"""Starts the program from its folder, wherever that is: ``python3 worker/attach COMMAND``."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python is told so, and needs to be able to read this
    sys.exit("attach: Python 3.11 or newer is needed, and this is %s" % sys.version.split()[0])  # noqa: UP031

if __name__ == "__main__":
    # In place of this folder, whose modules are to be found in their package alone.
    worker = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    sys.path[:1] = [worker, os.path.join(worker, "src")]  # noqa: PTH118 - there, `yeedu_worker`

    from attach.cli import main

    main()
