"""Checks ``.env``: misspelt names, values that are read differently than meant, and file permissions."""

import difflib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from local.backup.schedule import are_scheduled
from local.doctor.model import Check, Finding, note, ok, wrong
from local.doctor.site import Site
from local.errors import CommandError
from local.settings.dotenv import dotenv_script
from local.settings.platform import environment_of_commands

# Docker's and Compose's own settings, which .env may have too.
_OF_DOCKER = re.compile(
    r"(BUILDKIT|BUILDX|COMPOSE|DOCKER)_\w+|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|TZ|TMPDIR|SCALE"
)
_SETTING = re.compile(r"(?m)^#?([A-Z][A-Z0-9_]+)=")
_PLAIN_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}|\$([A-Za-z_]\w*)")
_IN_COMPOSE = re.compile(r"\$\{([A-Z][A-Z0-9_]+)")
# Neither the example, nor an editor's leftovers, nor another program's file such as .envrc.
_ENV_FILE = re.compile(r"\.env(\.(?!example$)(?!(.*\.)?(bak|old|orig|save|sw[a-p]|tmp|rej)$)[\w.-]+)?")
SECRET_NAME = re.compile(
    r"PASSWORD|PASSPHRASE|PASS(?![A-Z])|TOKEN|SECRET|AUTH_STRING|CONNECTION_STRING|WEBHOOK|CREDENTIAL|PRIVATE"
    r"|(API|ENCRYPTION|ACCOUNT|SIGNING|ACCESS|FERNET)_KEY"
)


def known_names(root: Path) -> set[str]:
    """Return the names of all settings in .env.example and in the compose files."""
    example = (root / ".env.example").read_text(encoding="utf-8")
    composed = [
        file.read_text(encoding="utf-8")
        for file in (*root.glob("docker-compose*.yaml"), *root.glob("deploy/*.yaml"))
    ]
    return {*_SETTING.findall(example), *_IN_COMPOSE.findall("".join(composed))}


def is_secret(name: str) -> bool:
    """Tell whether a setting of that name holds a secret."""
    return bool(SECRET_NAME.search(name.upper())) and not name.upper().endswith("_FILE")


def env_files(root: Path) -> list[Path]:
    """Return ``.env`` and those of environments, as far as they exist."""
    return [file for file in sorted(root.glob(".env*")) if file.is_file() and _ENV_FILE.fullmatch(file.name)]


def _lines(file: Path) -> list[tuple[int, str, str | None, bool]]:
    """Return each line's number, name and value, and whether variables in it are expanded.

    Raises:
        CommandError: The file cannot be read, or a line is not ``NAME=value``.
    """
    script = dotenv_script()
    try:
        text = file.read_text(encoding="utf-8-sig")
        return [(one.number, one.name, one.value, one.expands) for one in script.lines_of(text, file.name)]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file.name} cannot be read: {error}") from None
    except script.DotenvError as error:
        raise CommandError(str(error)) from None


def check_env_file(site: Site) -> Iterator[Finding]:
    """Check whether ``.env`` can be read, how its lines end, and who else may read it."""
    files = env_files(site.root)
    if not files:
        yield ok("there is no .env, so every setting has its default")
    for file in files:
        try:
            lines = _lines(file)
        except CommandError as error:
            yield wrong(str(error), f"correct that line of {file.name}")
            continue
        content = file.read_bytes()
        if b"\r\n" in content:
            yield note(
                f"{file.name} has Windows line endings, which other programs take as part of the values",
                f"sed -i 's/\\r$//' {file.name}",
            )
        yield from _openness(
            site, file, has_secret=any(is_secret(name) and value for _, name, value, _ in lines)
        )


def _openness(site: Site, file: Path, *, has_secret: bool) -> Iterator[Finding]:
    mode = stat.S_IMODE(file.stat().st_mode) if os.name == "posix" else 0o600
    backs_up = bool(site.items) and are_scheduled(site.settings)
    if mode & 0o002:
        yield wrong(
            f"everybody on this machine may write to {file.name} ({mode:o})", f"chmod 600 {file.name}"
        )
    elif mode & 0o044 and has_secret and not backs_up:
        yield wrong(
            f"others on this machine may read {file.name} ({mode:o}), which holds secrets",
            f"chmod 600 {file.name}",
        )
    else:
        yield ok(f"{file.name} can be read, and by whom it should")


def check_env_names(site: Site) -> Iterator[Finding]:
    """Look for names in ``.env`` that are no setting, and suggest the one that was meant."""
    known = known_names(site.root)
    count = 0
    for file in env_files(site.root):
        seen: dict[str, int] = {}
        try:
            lines = _lines(file)
        except CommandError:
            continue  # `check_env_file` reports it
        for number, name, _, _ in lines:
            count += 1
            where = f"{file.name}, line {number}: {name}"
            if name in seen:
                yield wrong(
                    f"{where} is set in line {seen[name]} too, and the later one counts", "remove one of them"
                )
            seen[name] = number
            if name in known or _OF_DOCKER.fullmatch(name):
                continue
            near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
            if near:
                yield wrong(f"{where} is no setting of the platform", f"did you mean {near[0]}?")
            else:
                yield note(
                    f"{where} is no setting of the platform", "flows' own variables belong in flows.env"
                )
    if count:
        yield ok(f"{count} settings were checked")


def check_env_values(site: Site) -> Iterator[Finding]:
    """Look for values that Compose reads differently than they look, or that the shell overrides."""
    script = dotenv_script()
    count = 0
    for file in env_files(site.root):
        try:
            lines, raw = _lines(file), file.read_text(encoding="utf-8-sig").splitlines()
        except CommandError:
            continue
        known = dict(environment_of_commands())
        count += len(lines)
        for number, name, value, expands in lines:
            where = f"{file.name}, line {number}: {name}"
            written = raw[number - 1].partition("=")[2].strip()
            if value is None:
                yield note(f"{where} has no value, so the shell's counts", f"write {name}=value")
                continue
            if is_secret(name) and not written.startswith(("'", '"')) and " #" in written:
                yield note(
                    f"{where} ends before ' #', where a comment begins",
                    "put the value in single quotes if that is a part of it",
                )
            try:
                meant = script.expand(value, known) if expands else value
            except ValueError as error:
                yield wrong(f"{where}: {error}", "put the value in single quotes")
                continue
            used = _PLAIN_VARIABLE.findall(value.replace("$$", "")) if expands else []
            if meant != value and not all(known.get("".join(pair)) for pair in used):
                yield wrong(
                    f"{where} has a $, which is read as a variable that is not set",
                    "put the value in single quotes, or write $$ for a dollar sign",
                )
            if re.fullmatch(r"<.*>|changeme|xxx+|\.\.\.", meant, re.IGNORECASE):
                yield wrong(f"{where} is still a placeholder", f"set {name}, or remove the line")
            known[name] = meant
    own = environment_of_commands()
    for name, value in _of_file(site).items():
        if name in own and own[name] != value:
            yield note(f"{name} of your shell overrides the one of .env", f"unset {name}")
    if count:
        yield ok(f"{count} values were checked")


def _of_file(site: Site) -> dict[str, str]:
    try:
        return dict(dotenv_script().read_dotenv(site.root / ".env", environment_of_commands()))
    except (ValueError, OSError):
        return {}


CHECKS = (
    Check(
        "env-file",
        "whether `.env`, and `.env.NAME` of environments, can be read; line endings; who may read them",
        "a line is not `NAME=value`; others may read secrets in it, or everybody may write to it",
        "correct the line; `chmod 600 .env`",
        check_env_file,
    ),
    Check(
        "env-names",
        "names in `.env` that are no setting",
        "there is a setting of nearly that name, or a name is set twice",
        "the name that it suggests",
        check_env_names,
    ),
    Check(
        "env-values",
        "values that Compose reads differently than they look",
        "a `$` is read as a variable that is not set; a placeholder is left",
        "single quotes; `$$`",
        check_env_values,
    ),
)
