"""``python -m local.processes.launch RECORD``: supervisord runs it; it becomes the process of a record.

Command and settings are in the record, which only this user can read, not in supervisord's configuration.
What an earlier process of the same record left behind is killed first, as the end of a container ends its
processes: the new process needs its files and ports.
"""

import os
import signal
import sys
from pathlib import Path

from local.processes.process_tree import TOKEN_VARIABLE, await_end, send, tree_of
from local.processes.record import last_exit, read_record

_END_SECONDS = 5.0


def main() -> None:
    """Replace this process with the record's, or exit with one sentence in its log."""
    file = Path(sys.argv[1])
    record = read_record(file)
    if record is None:
        sys.exit(f"{file} is damaged; `make down`, then `make up` rewrites it")
    if left := tree_of(0, record.token):
        print(f"ending what the last {record.name} left behind: {len(left)} processes", flush=True)
        send(left, signal.SIGKILL)
        await_end(left, _END_SECONDS)
    if ended := last_exit(file.parents[1] / "supervisord.log", file):
        print(f"starting {record.name} again: the last one was {ended}", flush=True)
    try:
        os.chdir(record.folder)
        environment = {**record.environment, TOKEN_VARIABLE: record.token}
        os.execvpe(record.command[0], list(record.command), environment)  # noqa: S606 - it replaces this process
    except OSError as error:
        sys.exit(f"{record.name} cannot be started: {error}")


if __name__ == "__main__":
    main()
