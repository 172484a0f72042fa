"""Limits of one flow run, which all that it starts inherits."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for speed: `client` imports this module
    from collections.abc import Mapping

FILE_VARIABLE = "WORKER_RUN_FILE_MEGABYTES"


def limit_files(environment: "Mapping[str, str]") -> None:
    """Keep this process, and all that it starts, from writing files larger than the environment allows.

    Environment:
        WORKER_RUN_FILE_MEGABYTES: Megabytes; default 0, for any size.
    """
    value = environment.get(FILE_VARIABLE) or ""
    if not value.isdecimal() or not int(value):
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = int(value) * 1024 * 1024
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
