"""The pages of the site: those of docs/, and whatever they lead to, with links that work among them.

A page that the code writes takes the place of the file that it is written from: a link to `.env.example`
leads to the settings. Other files of the repository become pages that show them.
"""

import posixpath
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

FIRST = "docs/README.md"
_FENCE = re.compile(r"(?ms)^( *)(`{3,}).*?^ *\2`*$")
_LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)#\s]+)")
_LANGUAGES = {"md": "text", "example": "sh", "env": "sh", "txt": "text", "ps1": "powershell"}


def tracked(root: Path) -> list[str]:
    """Return the repository's files, new ones among them."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(listed, cwd=root, text=True).splitlines()
    return [name for name in names if (root / name).is_file()]


class Pages:
    """Writes the site's sources into a folder.

    Args:
        root: The repository.
        folder: Where the pages go.
        generated: Functions that write a page each, by the file that it is written from.
    """

    def __init__(self, root: Path, folder: Path, generated: Mapping[str, Callable[[], str]]) -> None:
        self._root, self._folder, self._generated = root, folder, generated
        self._files = tracked(root)
        self._images = {name for name in self._files if name.startswith("docs/images/")}
        self._open: list[str] = []
        self._done: set[str] = set()

    def write(self) -> None:
        """Write every page that a reader can get to."""
        self._open = [name for name in self._files if re.fullmatch(r"docs/[\w-]+\.md", name)]
        self._open += self._generated
        for image in self._images:
            self._put(self.place(image), (self._root / image).read_bytes())
        while self._open:
            name = self._open.pop()
            if name not in self._done:
                self._done.add(name)
                text = self._text(name)
                self._put(self.place(name), self._linked(name, text).encode())

    def place(self, name: str) -> str:
        """Return where a file's page is in the site.

        Args:
            name: The file or folder, from the root of the repository.
        """
        if name == FIRST:
            return "index.md"
        if name in self._generated:
            return f"reference/{self._generated[name].__name__.replace('_', '-')}.md"
        if name.startswith("docs/") and (name.endswith(".md") or name in self._images):
            return name.removeprefix("docs/")
        path = PurePosixPath(name)
        if path.suffix == ".md":
            words = [*path.parent.parts, *([] if path.stem == "README" else [path.stem])] or ["readme"]
            return f"project/{'-'.join(words).lower()}.md"
        return f"source/{re.sub(r'(?:^|(?<=/))[.]', '', name)}.md"  # the site leaves hidden files out

    def _text(self, name: str) -> str:
        if name in self._generated:
            return self._generated[name]()
        path = self._root / name
        if path.is_dir():
            held = "\n".join(f"- `{one}`" for one in self._files if one.startswith(f"{name}/"))
            return f"# {name}/\n\nA folder of the repository.\n\n{held}\n"
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            return text
        language = _LANGUAGES.get(path.suffix.removeprefix("."), path.suffix.removeprefix(".") or "text")
        return f"# {name}\n\nA file of the repository.\n\n``````{language}\n{text}``````\n"

    def _linked(self, name: str, text: str) -> str:
        """Return a page's text with links to the pages of the site."""
        here = posixpath.dirname(self.place(name))
        base = "" if name in self._generated else posixpath.dirname(name)

        def lead(found: re.Match[str]) -> str:
            target = posixpath.normpath(posixpath.join(base, found[1]))
            if target.startswith("..") or not (self._root / target).exists():
                return found[1]  # the build refuses it
            if target not in self._images and target != "docs/images":
                self._open.append(target)
            return posixpath.relpath(self.place(target), here or ".")

        parts: list[str] = []
        end = 0
        for fence in _FENCE.finditer(text):
            parts += [_LINK.sub(lead, text[end : fence.start()]), fence[0]]
            end = fence.end()
        return "".join([*parts, _LINK.sub(lead, text[end:])])

    def _put(self, place: str, content: bytes) -> None:
        target = self._folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
