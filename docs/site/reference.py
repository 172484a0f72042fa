"""The pages of the reference, each written from the code that it is about.

Their links begin at the root of the repository.
"""

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.site.env_example import sections

ROOT = Path(__file__).parents[2]
_PAGE = re.compile(r"(?<![\w/])docs/([\w-]+\.md)")


def settings() -> str:
    """Every setting of the platform: its default, what it is for, and the services that have it."""
    lines = [_head("Settings", "Set them in `.env`, or in the environment of `make`.", "docs/README.md")]
    for section in sections(ROOT):
        lines += [f"## {section.title}", ""]
        for group in section.groups:
            lines += [_PAGE.sub(r"[docs/\1](docs/\1)", group.text), ""]
            rows = [(f"`{one.name}`", _code(one.default), ", ".join(one.services)) for one in group.settings]
            lines += [_table(("Setting", "Default", "Services"), rows)]
    return "\n".join(lines)


def commands() -> str:
    """Every command of the host."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?m)^([a-z][a-z0-9-]*):.*?## (.*)$", makefile)
    rows = [(f"`make {name}`", what) for name, what in targets]
    head = _head("Commands", "`make help` prints the same.", "README.md")
    return head + "\n" + _table(("Command", "What it does"), rows)


def deployer_commands() -> str:
    """The deployer's commands and their options, as it prints them."""
    from yeedu_deployer.cli import COMMANDS

    said = "On the platform it is `docker compose run --rm deployer`."
    lines = [_head("The deployer's commands", said, "deployer/README.md")]
    for words in ([], *([name] for name in COMMANDS)):
        asked = [sys.executable, "-m", "yeedu_deployer", *words, "--help"]
        printed = subprocess.check_output(asked, text=True, env={"COLUMNS": "110"})
        lines += [f"## {' '.join(['deployer', *words])}", "", "```text", printed.rstrip(), "```", ""]
    return "\n".join(lines)


def yeedu_options() -> str:
    """The options of a Yeedu run, which are the operator's settings as well."""
    from prefect_yeedu.options import SETTING_PREFIX, OptionFields, default_of

    rows = [
        (f"`{name}`", f"`{SETTING_PREFIX}{name.upper()}`", _shown(default_of(name)), field.description or "")
        for name, field in OptionFields.model_fields.items()
    ]
    said = "A call's own value comes first, then the setting, a variable of the flow run, then the default."
    head = _head("Options of a Yeedu run", said, "docs/yeedu.md")
    return head + "\n" + _table(("Option", "Setting", "Default", "Meaning"), rows)


def yeedu_errors() -> str:
    """Every error of the operator: what it means, what it knows, and whether trying again may help."""
    import prefect_yeedu
    from prefect_yeedu import errors

    tree = inspect.cleandoc((inspect.getdoc(errors) or "").partition("Tree::")[2])
    said = "All of them are imported from `prefect_yeedu`."
    lines = [_head("Errors of the Yeedu operator", said, "docs/yeedu.md"), "```text", tree, "```", ""]
    for name in prefect_yeedu.__all__:
        error = getattr(prefect_yeedu, name)
        if inspect.isclass(error) and issubclass(error, prefect_yeedu.YeeduError):
            said, _, attributes = (inspect.getdoc(error) or "").partition("\n\nAttributes:\n")
            knows = re.findall(r"(?m)^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes)
            lines += [f"## {name}", "", said, ""]
            lines += ["Trying again may help.", ""] if error.is_retryable else []
            lines += [f"- `{attribute}`: {' '.join(what.split())}" for attribute, what in knows]
            lines += [""]
    return "\n".join(lines)


def mock_options() -> str:
    """The start options of the mock Yeedu."""
    from yeedu_mock.settings import NOT_ON_THE_COMMAND_LINE, PREFIX, Options

    rows = [
        (
            "" if name in NOT_ON_THE_COMMAND_LINE else f"`--{name.replace('_', '-')}`",
            f"`{PREFIX}{name.upper()}`",
            _shown(field.default),
            field.description or "",
        )
        for name, field in Options.model_fields.items()
    ]
    head = _head("Options of the mock Yeedu", "An option goes before its variable.", "yeedu-mock/README.md")
    return head + "\n" + _table(("Option", "Variable", "Default", "Meaning"), rows)


# Each in the place of the file that it is written from.
GENERATED: Mapping[str, Callable[[], str]] = {
    ".env.example": settings,
    "Makefile": commands,
    "deployer/src/yeedu_deployer/cli.py": deployer_commands,
    "yeedu-operator/src/prefect_yeedu/options.py": yeedu_options,
    "yeedu-operator/src/prefect_yeedu/errors.py": yeedu_errors,
    "yeedu-mock/src/yeedu_mock/settings.py": mock_options,
}


def _head(title: str, said: str, beside: str) -> str:
    return f"# {title}\n\n{said.strip()} What is around it: [{beside}]({beside}).\n"


def _shown(default: object) -> str:
    if default in (None, (), {}):
        return ""
    return _code(f"{default:g}" if isinstance(default, float) else str(default))


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"
