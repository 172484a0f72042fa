"""The pages of the documentation as tests read them: their commands and their examples."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md")),
]

_FENCE = re.compile(r"(?ms)^ *```(\w+)\n(.*?)^ *```$")


def text(page: str) -> str:
    """Return a page as it stands; it is named relative to the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[str]:
    """Return the fenced blocks of some languages, in the page's order."""
    return [block for language, block in _FENCE.findall(text(page)) if language in languages]


def commands(page: str) -> list[str]:
    """Return what the page tells its reader to type: its commands in their order, broken lines joined."""
    lines = re.sub(r" *\\\n\s*", " ", "".join(blocks(page, "sh", "powershell"))).splitlines()
    return [line.strip() for line in lines if line.strip()]
