"""``make logs`` for local processes: follows their log files, and prefixes each line with its process."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_SECONDS = 0.3
_FIRST_BYTES = 8_000


def follow(folder: Path) -> Iterator[str]:
    """Yield the end of every ``*.log``, then every new line, forever."""
    logs: dict[Path, _Log] = {}
    while True:
        for file in sorted(folder.glob("*.log")):
            for line in logs.setdefault(file, _Log(file)).new_lines():
                yield f"{file.stem:<12} | {line}"
        time.sleep(_POLL_SECONDS)


class _Log:
    """One file that grows, or is replaced when logs are rotated."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Return the complete lines written since the last call; on the first call, the file's last lines."""
        try:
            with self._file.open("rb") as source:
                status = os.fstat(source.fileno())
                if status.st_ino != self._inode:
                    is_first = self._inode == 0
                    self._inode, self._rest = status.st_ino, b""
                    self._offset = max(0, status.st_size - _FIRST_BYTES) if is_first else 0
                source.seek(self._offset)
                data = source.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.removesuffix(b"\r").decode(errors="replace") for line in lines]
