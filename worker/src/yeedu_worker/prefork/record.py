"""Records which children a prefork server has, for the process that adopts them if it is killed."""

import os
from array import array
from collections.abc import Iterable

# One page, which the kernel writes as a whole: a server that is killed meanwhile leaves no partial record.
_BYTES = 4096


class Record:
    """The process numbers of a server's children, in an in-memory file that outlives the server.

    Args:
        file: The file's number; a new file by default.
    """

    def __init__(self, file: int | None = None) -> None:
        self.file = os.memfd_create("children") if file is None else file

    def write(self, children: Iterable[int]) -> None:
        """Write the children's numbers; if they do not fit, the highest, which are the latest."""
        numbers = array("i", sorted(children, reverse=True))
        os.pwrite(self.file, numbers.tobytes()[:_BYTES].ljust(_BYTES, b"\0"), 0)

    def read(self) -> set[int]:
        """Return the numbers that were written last."""
        numbers = array("i")
        numbers.frombytes(os.pread(self.file, _BYTES, 0))
        return set(numbers) - {0}
