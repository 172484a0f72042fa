"""Writes a new flow from flows/template/: the flow, its module, its test, and its deployment."""

import builtins
import io
import keyword
import re
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from local.console import Console
from local.errors import CommandError
from local.processes.services import own_flows_url
from local.settings.platform import ROOT, Settings

TEMPLATE = "template"
LONGEST_NAME = 40
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Names that have a meaning of their own for Python, pytest or the platform.
RESERVED = {"conftest", "flows", "operators", "prefect_yeedu", "scripts", "tests", "yeedu_worker", TEMPLATE}


@dataclass(frozen=True)
class NewFlow:
    """Where a new flow goes, and what it is called.

    Attributes:
        name: The name of its file and its function, in snake_case.
        project: The folder below flows/; empty for flows/ itself.
    """

    name: str
    project: str = ""

    @property
    def label(self) -> str:
        """The name of the flow and of its deployment."""
        return self.name.replace("_", "-")

    @property
    def folder(self) -> str:
        """The folder, relative to the checkout's root."""
        return f"flows/{self.project}" if self.project else "flows"

    @property
    def files(self) -> dict[str, str]:
        """The file to write for each file of the template, relative to the checkout's root."""
        return {
            f"flows/{TEMPLATE}/{TEMPLATE}.py": f"{self.folder}/{self.name}.py",
            f"flows/{TEMPLATE}/scripts/{TEMPLATE}_steps.py": f"{self.folder}/scripts/{self.name}_steps.py",
            f"flows/{TEMPLATE}/tests/test_{TEMPLATE}.py": f"{self.folder}/tests/test_{self.name}.py",
        }

    def filled_in(self, text: str) -> str:
        """Put this flow's names into a text of the template."""
        names = {
            f'"{TEMPLATE}"': f'"{self.label}"',
            f"[{TEMPLATE}]": f"[{self.tag}]",
            f"name: {TEMPLATE}\n": f"name: {self.label}\n",
            f"flow {TEMPLATE}.": f"flow {self.label}.",
            f"flows/{TEMPLATE}/": f"{self.folder}/",
        }
        pattern = "|".join([*map(re.escape, names), rf"\b{TEMPLATE}(?=\b|_steps)"])
        return re.sub(pattern, lambda found: names.get(found[0], self.name), text)

    @property
    def tag(self) -> str:
        """The tag of its deployment."""
        return self.project.replace("_", "-") or self.label


def declaring_file(settings: Settings) -> Path:
    """Return the prefect.yaml that a new flow is declared in.

    Raises:
        CommandError: It is in a repository other than this checkout.
    """
    name = settings.get("PREFECT_FILE")
    if not name:
        return settings.config_dir() / "prefect.yaml"
    if not name.startswith("repo:"):
        file = settings.path("PREFECT_FILE") or ROOT
        return file if file.is_file() else settings.config_dir() / name
    if own_flows_url(settings):
        raise CommandError(
            f"PREFECT_FILE={name} is in the repository FLOWS_GIT_URL; write the flow in a clone of it"
        )
    return ROOT / name.removeprefix("repo:")


def make_new_flow(root: Path, text: str, prefect_file: Path, console: Console, *, push: bool = False) -> None:
    """Write a new flow that is ready to run, and print the next commands.

    Args:
        root: The checkout.
        text: Its name, as PROJECT/NAME or NAME.
        prefect_file: The file that declares the deployments.
        console: Where the written files and the next commands are shown.
        push: Whether runs clone a repository other than this checkout.

    Raises:
        CommandError: The name cannot be used, something is in the way, or a file cannot be written.
    """
    flow = _parse(root, text)
    try:
        declared = _read(prefect_file)
        entry = flow.filled_in(_read(root / "flows" / TEMPLATE / "deployment.yaml"))
        _check_is_new(root, flow, declared, prefect_file)
        contents = {target: flow.filled_in(_read(root / source)) for source, target in flow.files.items()}
        declared = with_deployment(declared, entry)
        if declared is None:
            raise CommandError(f"{prefect_file} has no list `deployments:`; add one, then try again")
        for target, content in contents.items():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            _write(root / target, content)
        _write(prefect_file, declared)
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    _say_what_is_next(root, flow, prefect_file, console, push=push)


def with_deployment(declared: str, entry: str) -> str | None:
    """Append an entry to the list of deployments, and leave the rest of the text unchanged.

    Args:
        declared: A prefect.yaml.
        entry: One item of a YAML list, not indented.

    Returns:
        The new text; None if there is no such list, with one item a line.
    """
    end_of_line = "\r\n" if "\r\n" in declared else "\n"
    lines = declared.splitlines()
    head = next(
        (number for number, line in enumerate(lines) if re.match(r"deployments:\s*(#|$)", line)), None
    )
    if head is None:
        return None
    end = head + 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith((" ", "#", "-"))):
        end += 1
    last = max((n for n in range(head, end) if lines[n].strip() and lines[n][0] != "#"), default=head)
    items = [line for line in lines[head + 1 : end] if line.lstrip().startswith("- ")]
    indent = items[0][: len(items[0]) - len(items[0].lstrip())] if items else "  "
    separator = [""] if items else []
    new = [f"{indent}{line}" for line in entry.splitlines()]
    changed = [*lines[: last + 1], *separator, *new, *lines[last + 1 :]]
    return end_of_line.join(changed) + end_of_line


def _parse(root: Path, text: str) -> NewFlow:
    if not text:
        raise CommandError("name the flow: make new-flow NAME=project/name")
    project, slash, name = text.rpartition("/")
    parts = [project, name] if slash else [name]
    if "/" in project:
        raise CommandError(f"NAME={text}: a flow has one project at most: NAME=project/name")
    for part in parts:
        if not NAME.fullmatch(part) or len(part) > LONGEST_NAME:
            raise CommandError(
                f"NAME={text}: {part!r} is not a snake_case name of at most {LONGEST_NAME} characters, "
                "such as count_visitors"
            )
        if keyword.iskeyword(part) or keyword.issoftkeyword(part):
            raise CommandError(f"NAME={text}: {part!r} is a Python keyword; choose another name")
        if part in RESERVED:
            raise CommandError(f"NAME={text}: {part!r} is reserved by the platform; choose another name")
    if name in _names_in_use(root):
        raise CommandError(
            f"NAME={text}: a flow {name!r} would shadow what flows import or use by that name; choose another"
        )
    return NewFlow(name, project)


def _names_in_use(root: Path) -> set[str]:
    """Collect the names of Python's modules and functions, of installed packages, and of the template."""
    packages = [
        package.replace("-", "_").replace(".", "_")
        for lock in sorted((root / "requirements").rglob("*.txt"))
        for package in re.findall(r"(?m)^([a-zA-Z0-9._-]+)==", lock.read_text(encoding="utf-8"))
    ]
    own = [
        token.string
        for file in sorted((root / "flows" / TEMPLATE).rglob("*.py"))
        for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline)
        if token.type == tokenize.NAME
    ]
    # Many packages are imported under a name other than their own, such as websocket-client.
    installed = {
        file.name.partition(".")[0] for file in (root / ".venv").glob("lib/*/site-packages/[a-zA-Z]*")
    }
    return {*sys.stdlib_module_names, *dir(builtins), *packages, *installed, *own}


def _check_is_new(root: Path, flow: NewFlow, declared: str, prefect_file: Path) -> None:
    for target in flow.files.values():
        if (root / target).exists():
            raise CommandError(f"{target} already exists; choose another name")
    twin = next(iter(sorted((root / "flows").rglob(f"{flow.name}.py"))), None)
    if twin:
        raise CommandError(f"{twin.relative_to(root)} already exists; flow names are unique across projects")
    if re.search(rf"""(?m)^\s*-?\s*name:\s*["']?{flow.label}["']?\s*(#|$)""", declared):
        raise CommandError(f"{prefect_file} has a deployment {flow.label} already; choose another name")


def _say_what_is_next(root: Path, flow: NewFlow, prefect_file: Path, console: Console, *, push: bool) -> None:
    is_of_checkout = prefect_file.is_relative_to(root)
    shown = prefect_file.relative_to(root) if is_of_checkout else prefect_file
    of_config = f"git -C {quote(str(prefect_file.parent))}"
    test = f"{flow.folder}/tests/test_{flow.name}.py"
    for target in flow.files.values():
        console.say(f"{target}: written")
    console.say(f"{shown}: has the deployment {flow.label}")
    console.say("Next:")
    commands = [
        f".venv/bin/python {flow.folder}/{flow.name}.py",
        f".venv/bin/pytest --numprocesses=0 {test}",
        f"git add {' '.join(flow.files.values())}{f' {shown}' if is_of_checkout else ''}",
        f'git commit --message "Add {flow.label}"',
        *([] if is_of_checkout else [f"{of_config} commit --message 'Add {flow.label}' {prefect_file.name}"]),
        *(["git push"] if push else []),
        "make deploy",
    ]
    if not (root / ".venv").exists():
        commands.insert(0, "make install")
    for command in commands:
        console.say(f"  {command}")


def _read(file: Path) -> str:
    with file.open(encoding="utf-8", newline="") as opened:
        return opened.read()


def _write(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        opened.write(text)
