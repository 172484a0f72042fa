"""The commands of the host: ``python3 -m local up|down|logs|status|deploy|...`` (``make help``).

Standard library only, since this is what runs before anything is installed. The platform runs as containers
where a Docker engine answers (`local.compose_mode`), else as local processes (`local.process_mode`).
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this file is read by whatever python3 the host has
    sys.exit(
        "Python {}.{} is too old: 3.11 or newer is needed; name one with `make PYTHON=python3.11 ...`".format(
            *sys.version_info
        )
    )
