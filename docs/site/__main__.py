"""`python -m docs.site [FOLDER]` builds the site, by default into build/docs; no link may lead nowhere."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from docs.site.pages import FIRST, Pages
from docs.site.reference import GENERATED, ROOT
from docs.site.rooms import rooms

THEME = Path(__file__).parent / "theme"
GITHUBS_ANCHORS = {"object": "pymdownx.slugs.slugify", "kwds": {"case": "lower"}}


def main(folder: Path) -> int:
    """Write the sources beside the folder, build the site into it, and return the exit code."""
    sources = folder.with_name(f"{folder.name}-sources")
    for old in (folder, sources):
        shutil.rmtree(old, ignore_errors=True)
    pages = Pages(ROOT, sources, GENERATED)
    pages.write()
    shutil.copytree(THEME, sources, dirs_exist_ok=True)
    navigation: list[object] = [{"Start": ["index.md"]}]
    for room in rooms((ROOT / FIRST).read_text(encoding="utf-8")):
        named = [{title: pages.place(_from_root(link))} for title, link in room.entries]
        navigation.append({room.name: named})
    project: dict[str, Any] = {
        "site_name": "Yeedu on Prefect",
        "docs_dir": sources.name,
        "site_dir": folder.name,
        "nav": navigation,
        "extra_css": ["style.css"],
        "theme": {
            "font": False,  # no font from elsewhere
            "features": ["navigation.tabs", "navigation.indexes", "content.code.copy"],
        },
        # The search's own stand-in for a worker, which a page from the file system cannot start.
        "extra": {"generator": False, "polyfills": ["iframe-worker.js"]},
        "plugins": [{"search": {}}, {"offline": {}}],
        "markdown_extensions": [
            {"toc": {"permalink": True, "slugify": GITHUBS_ANCHORS}},
            {"pymdownx.highlight": {"pygments_lang_class": True}},
            "pymdownx.superfences",
            "tables",
        ],
    }
    configuration = folder.with_name(f"{folder.name}.yml")
    configuration.write_text(json.dumps(project, indent=2), encoding="utf-8")  # JSON is YAML
    zensical = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--config-file"]
    return subprocess.run([*zensical, configuration.name], cwd=folder.parent, check=False).returncode


def _from_root(link: str) -> str:
    return str(Path("docs", link)) if not link.startswith("../") else link.removeprefix("../")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs"))
