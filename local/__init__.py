"""The host's command line: ``python3 -m local up|down|logs|status|deploy|...`` (``make help``).

Standard library only, because these commands run before anything is installed. The platform runs in
containers if a Docker engine answers (`local.containers`), else as local processes (`local.processes`).
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this file is read by whatever python3 the host has
    sys.exit(
        "Python {}.{} is too old: use 3.11 or newer, as in `make PYTHON=python3.11 ...`".format(
            *sys.version_info
        )
    )
