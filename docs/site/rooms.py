"""The rooms of the documentation, as its first page lists them."""

import re
from dataclasses import dataclass

_HEADING = re.compile(r"## (.+)")
_ENTRY = re.compile(r"- \[([^\]]+)\]\(([^)#]+)\)")


@dataclass(frozen=True)
class Room:
    """One part of the documentation.

    Attributes:
        name: Its heading.
        entries: The title of each of its pages, and the link to it from the first page.
    """

    name: str
    entries: tuple[tuple[str, str], ...]


def rooms(text: str) -> list[Room]:
    """Return the rooms of a first page: its headings of the second level, and the list below each."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in text.splitlines():
        if heading := _HEADING.fullmatch(line):
            found.append((heading[1], []))
        elif found and (entry := _ENTRY.match(line)):
            found[-1][1].append((entry[1], entry[2]))
    return [Room(name, tuple(entries)) for name, entries in found]
