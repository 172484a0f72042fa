"""What a forked child keeps of its server: nothing that it was not given."""

from pathlib import Path

import pytest
from own_process import run_python

# A server with as many files as flow runs would leave it with, below and above where a child puts its own.
FORK = """
import json, os, socket, sys
from yeedu_worker.prefork import child, protocol
from yeedu_worker.prefork.shelf import Shelf

count = int(sys.argv[1])
files = [os.open(os.devnull, os.O_RDWR) for _ in range(protocol.FILES)]
mine, theirs = socket.socketpair()
others = [os.memfd_create("of the server") for _ in range(count)]
results, told = os.pipe()
highest = max(files + others + [mine.fileno(), theirs.fileno(), results, told])
request = protocol.Request("", [], b"", {}, 0, {}, 0, [])
if not os.fork():
    assignment = child.Assignment(request, files, mine, Shelf([]), None, highest)
    here = os.dup2(told, 1000)
    connection, lifeline = child._keep_apart(assignment)
    left = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
    left = {int(name) for name in left} - {0, 1, 2, here, connection.fileno(), lifeline}
    os.write(here, json.dumps([os.readlink(f"/proc/self/fd/{number}") for number in left]).encode())
    os._exit(0)
os.close(told)
print(os.read(results, 100000).decode())
"""


@pytest.mark.parametrize("count", [3, 150, 400])
def test_child_keeps_none_of_its_servers_files(tmp_path: Path, count: int) -> None:
    assert run_python(FORK, tmp_path, str(count)) == []
