"""A flow that reports everything that it can see of the process that it runs in."""

import sys

LOADED = sorted(sys.modules)

import json  # noqa: E402
import locale  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import time  # noqa: E402
import uuid  # noqa: E402
from pathlib import Path  # noqa: E402

import shared_name  # pyright: ignore[reportMissingImports]  # noqa: E402
from prefect import flow  # noqa: E402
from prefect.settings import get_current_settings  # noqa: E402


def describe_loggers() -> dict[str, list[str]]:
    """Return level and handlers of every logger that has any."""
    described: dict[str, list[str]] = {}
    for name, logger in sorted({"": logging.getLogger(), **logging.Logger.manager.loggerDict}.items()):
        if isinstance(logger, logging.Logger):
            # A library that is imported beforehand adds a handler that does nothing.
            handlers = [str(found) for found in logger.handlers if not isinstance(found, logging.NullHandler)]
            if handlers or logger.level or logger.disabled:
                described[name] = [str(logger.level), str(logger.disabled), str(logger.propagate), *handlers]
    return described


def standard_files() -> list[list[str]]:
    """Return what distinguishes the standard files of two interpreters."""
    return [
        [file.name if file.fileno() > 2 else "", file.encoding, str(file.errors), str(file.line_buffering)]
        for file in (sys.stdin, sys.stdout, sys.stderr)
    ]


AT_IMPORT = {
    "loaded": LOADED,
    "arguments": sys.argv,
    "original_arguments": sys.orig_argv,
    "path": sys.path,
    "main": sorted(vars(sys.modules["__main__"])),
    "signals": {str(number): str(signal.getsignal(number)) for number in sorted(signal.valid_signals())},
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "standard_files": standard_files(),
    "loggers": describe_loggers(),
}


@flow
def observe(report: str, text: str = "") -> None:
    """Write what is to be seen into a file."""
    umask = os.umask(0)
    os.umask(umask)
    limits = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
    random_value, identifier = random.random(), uuid.uuid4().hex
    file = os.open("probe", os.O_CREAT | os.O_WRONLY, 0o666)
    seen = {
        **AT_IMPORT,
        "text": text,
        "shared": shared_name.VALUE,
        "environment": dict(os.environ),
        "directory": str(Path.cwd()),
        "files": sorted(os.listdir()),  # noqa: PTH208
        "umask": umask,
        "mode": os.fstat(file).st_mode,
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "processors": sorted(os.sched_getaffinity(0)),
        "zone": time.tzname,
        "encoding": locale.getpreferredencoding(),
        "flags": str(sys.flags),
        "settings": get_current_settings().model_dump(mode="json"),
        "child_of_itself": os.popen("echo $TEXT_OF_RUN").read(),
    }
    os.close(file)
    own = {
        "random": random_value,
        "identifier": identifier,
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii")),
    }
    Path(report).write_text(json.dumps({"seen": seen, **own}), encoding="utf-8")
