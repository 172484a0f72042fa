"""Serves one Python function, `fn(payload, context)`, until nobody has called it for a while.

Run as a file (`python function_program.py PROJECT SCRIPT FUNCTION IDLE_SECONDS`), it imports nothing from
this package; the script may import from the folder PROJECT. It writes its port to the file `port` in its
working folder. Each connection carries one call: a line of JSON with `payload` and `context`, answered by one
with `result` or `error`.
"""

import importlib.util
import json
import socketserver
import sys
import time
from pathlib import Path
from typing import Any

CHECK_SECONDS = 0.2


class Caller(socketserver.StreamRequestHandler):
    """One call."""

    def handle(self) -> None:
        """Answer the call."""
        server = self.server
        assert isinstance(server, FunctionServer)  # noqa: S101 - it makes no others
        call = json.loads(self.rfile.readline())
        try:
            answer = {"result": server.function(call["payload"], call["context"])}
            line = json.dumps(answer)
        except Exception as error:  # noqa: BLE001 - whatever the function raises is its answer
            line = json.dumps({"error": f"{type(error).__name__}: {error}"})
        self.wfile.write(line.encode() + b"\n")
        server.latest = time.monotonic()


class FunctionServer(socketserver.ThreadingTCPServer):
    """Calls the function for every connection."""

    daemon_threads = True

    def __init__(self, function: Any) -> None:
        super().__init__(("127.0.0.1", 0), Caller)
        self.function = function
        self.latest = time.monotonic()


def main() -> None:
    """Load the function, call the script's `init()` if there is one, and serve."""
    project, script, name, idle_seconds = sys.argv[1:]
    sys.path.insert(0, project)
    spec = importlib.util.spec_from_file_location("function", script)
    if spec is None or spec.loader is None:
        sys.exit(f"{script} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        sys.exit(f"{script} has no function {name}.")
    if init := getattr(module, "init", None):
        init()
    with FunctionServer(function) as server:
        Path("port.new").write_text(str(server.server_address[1]), encoding="utf-8")
        Path("port.new").rename("port")
        server.timeout = CHECK_SECONDS
        while time.monotonic() - server.latest < float(idle_seconds):
            server.handle_request()


if __name__ == "__main__":
    main()
