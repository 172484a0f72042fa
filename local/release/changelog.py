"""``CHANGELOG.md``: turns the unreleased section into a release's, and prints a release's section.

``python3 -m local.release.changelog 1.4.0`` prints what 1.4.0 changed, for the page of that release.
"""

import re
import sys
from datetime import date

from local.errors import CommandError
from local.release.version import numbers
from local.settings.platform import ROOT

FILE = "CHANGELOG.md"
_OPEN = re.compile(r"(?m)^## (?:\[Unreleased\]|\[\d+\.\d+\.\d+\] - Unreleased)[ \t]*$")
_RELEASED = re.compile(r"(?m)^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d[ \t]*$")


def newest(text: str) -> str:
    """Return the newest released version; empty if there is none."""
    versions = _RELEASED.findall(text)
    return max(versions, key=numbers) if versions else ""


def close(text: str, version: str, day: date) -> str:
    """Return the changelog with its open section turned into a release's, below a new open one.

    Raises:
        CommandError: There is no open section, or it is empty.
    """
    heading = _OPEN.search(text)
    if not heading:
        raise CommandError(f"{FILE} has no section `## [Unreleased]`; say there what {version} changes")
    if not _body(text, heading.end()):
        raise CommandError(f"{FILE}: nothing stands under {heading[0]!r}; say there what {version} changes")
    closed = f"## [Unreleased]\n\n## [{version}] - {day.isoformat()}"
    return text[: heading.start()] + closed + text[heading.end() :]


def section(text: str, version: str) -> str:
    """Return the text of a release's section, without its heading.

    Raises:
        CommandError: The release has none.
    """
    heading = next((one for one in _RELEASED.finditer(text) if one[1] == version), None)
    if not heading:
        raise CommandError(f"{FILE} has no section of a release {version}")
    return _body(text, heading.end())


def _body(text: str, start: int) -> str:
    return re.split(r"(?m)^## ", text[start:], maxsplit=1)[0].strip()


def main() -> None:
    """Print the section of the release that the command line names."""
    try:
        [version] = sys.argv[1:]
        print(section((ROOT / FILE).read_text(encoding="utf-8"), version.removeprefix("v")))
    except ValueError:
        sys.exit("usage: python3 -m local.release.changelog VERSION")
    except CommandError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
