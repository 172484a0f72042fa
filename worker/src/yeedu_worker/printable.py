"""Sanitizes untrusted text for a terminal: names and logs of flows must not control it.

Standard library only, since the host's commands load it as well.
"""

import re

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
# What a terminal obeys, what only some programs take for the end of a line, and what reverses text.
_STEERING = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(line: str) -> str:
    """Return a line without colours, and with all other characters that control a terminal escaped."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), _COLOUR.sub("", line))
