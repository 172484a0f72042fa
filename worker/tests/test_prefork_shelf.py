"""The shelf hands out the very modules that were imported, with their submodules as attributes."""

import subprocess
import sys

PROGRAM = """
import sys
from yeedu_worker.prefork.preload import preload

shelf = preload().shelf
kept = {module.__name__: module for module in shelf.modules()}
sys.meta_path.insert(0, shelf)
import requests
assert requests is kept["requests"], "it was run anew"
import requests.exceptions
assert requests.exceptions.Timeout
import websocket
assert websocket is kept["websocket"]
"""


def test_a_module_from_the_shelf_is_not_run_anew() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
