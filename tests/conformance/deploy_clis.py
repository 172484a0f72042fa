"""Runs many commands of one program, each in a process of its own that need not import it again.

As a script it is the process that they are forked from: it has imported the program, reads one JSON request
a line, and answers each with the exit code. So a command costs what it does, without seconds of imports.
"""

import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 300
PROGRAMS = {"prefect": ("prefect.cli", "app"), "deployer": ("yeedu_deployer.cli", "main")}
# Modules that the program imports only once a command runs.
IMPORTED_LATE = {
    "prefect": ("prefect.cli.deploy", "prefect.cli.deploy._core", "prefect.cli._utilities", "prefect.main"),
    "deployer": ("yeedu_deployer", "prefect.main"),
}


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code, and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str


class Program:
    """A program whose commands are run one after the other.

    Args:
        name: Of `PROGRAMS`.
        environment: Of the process that imports it; Prefect reads its settings then.
        folder: Where the commands' outputs go.
    """

    def __init__(self, name: str, environment: dict[str, str], folder: Path) -> None:
        self._folder, self._count, self._environment = folder, 0, environment
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__)), name],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, folder: Path, environment: dict[str, str]) -> Ended:
        """Run one command in a folder, with more in its environment, and wait for its end."""
        with self._lock:
            self._count += 1
            output = self._folder / f"{self._count}"
            request = {
                "arguments": arguments,
                "folder": str(folder),
                "environment": {**self._environment, **environment},
                "output": str(output),
            }
            assert self._process.stdin, "it was opened with a pipe"
            assert self._process.stdout, "it was opened with a pipe"
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, f"the process of {arguments} ended"
        written = [output.with_suffix(ending).read_text(encoding="utf-8") for ending in (".out", ".err")]
        return Ended(int(answer), *written)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def _serve(name: str) -> None:
    module, function = PROGRAMS[name]
    main = getattr(importlib.import_module(module), function)
    for late in IMPORTED_LATE[name]:
        package = importlib.import_module(late)
        for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{late}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _run(name, main, request)
        print(_wait(child), flush=True)


def _wait(child: int) -> int:
    def stop(_signal: int, _frame: object) -> None:
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(TIMEOUT_SECONDS)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return os.waitstatus_to_exitcode(status)


def _run(name: str, main: object, request: dict) -> None:
    """Become the command, as the installed script begins it."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for descriptor, ending in ((1, ".out"), (2, ".err")):
        file = os.open(f"{request['output']}{ending}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    program = Path(sys.executable).with_name(name)
    sys.argv = [str(program), *request["arguments"]]
    sys.path.insert(0, str(program.parent))
    code = 1
    try:
        code = _exit_code(main)
    except BaseException:  # noqa: BLE001 - as Python ends a program
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_code(main: object) -> int:
    try:
        assert callable(main), "a program is called"
        result = main()
    except SystemExit as left:
        result = left.code
    if isinstance(result, str):
        print(result, file=sys.stderr)
        return 1
    return int(result or 0)


if __name__ == "__main__":
    _serve(sys.argv[1])
