"""Fly sequences of faults in a process of their own: `python -m tests.weather FOLDER < PLANS`.

The process has mocks, a Prefect server and a clock that runs ten times faster, and leaves sockets to the
garbage collector; none of this is for a process that other tests share. Its module has the one name that
multiprocessing does not import again in each process it forks, which would take longer than the sequence.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.weather.fly import clear_sky, fly_all
from tests.weather.plan import Plan


def main() -> None:
    """Fly the plans of the standard input, one a line; end with 1 if any of them went wrong."""
    folder = Path(sys.argv[1])
    for name in ("prefect", "weather"):
        (folder / name).mkdir()
    plans = [Plan.read(line) for line in sys.stdin if line.strip()]
    with clear_sky(folder) as sky:
        wrong = fly_all(sky, plans)
    print("\n".join(wrong), flush=True)
    # The mocks' threads and what they left to the garbage collector end with the process.
    os._exit(int(bool(wrong)))


if __name__ == "__main__":
    main()
