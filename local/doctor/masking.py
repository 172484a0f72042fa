"""Keeps secrets out of what the doctor prints and packs: by their values, and by their look."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, quote_plus

from local.doctor.env_file import is_secret, known_names
from local.doctor.site import Site
from local.errors import CommandError
from local.settings.dotenv import dotenv_script

MASK = "***"
_SHORTEST = 4  # anything shorter occurs in every text
_SHORTEST_OF_OTHERS = 8  # a shell has TOKENIZERS_PARALLELISM=false, for example
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_GIT_USERS = ("x-access-token", "oauth2", "x-token-auth")
_NO_SECRET = re.compile(r"[+-]?[\d.,_:]+|true|false|yes|no|on|off|none|null", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?<=://)[^/?#@\s'\"]+@")
# No pattern may scan a text over and over: repetitions are bounded, or masked where they are found.
# A name that indicates a secret, and what separates it from its value, even in JSON within JSON.
_NAMED = (
    r"((?:password|passwd|passphrase|(?<![a-z])pass(?![a-z])|pwd|secret|token|auth[_-]?string|credential"
    r"|(?:api|access|account|signing|fernet)[_-]?key|connection[_-]?string)"
    r"[\w-]{0,64}(?<!_file)\\{0,16}[\"']?\s{0,8}[=:]\s{0,8}\\{0,16})"
)
_PATTERNS = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.*?(-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)", re.S
        ),
        MASK,
    ),
    (
        re.compile(r"\b((?i:basic|bearer|token))\s{1,8}(?=[^\s0-9A-Z=]{0,512}[0-9A-Z=])[\w.~+/=-]{8,}"),
        rf"\1 {MASK}",
    ),
    # A JWT; its first part is bounded where it does not begin a word.
    (re.compile(r"(?:(?<![\w-])eyJ[\w-]{5,}|eyJ[\w-]{5,256})\.[\w-]{5,}(\.[\w-]*)?"), MASK),
    (re.compile(r"\b(gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|SG\.|AKIA)[\w.-]{8,}"), MASK),
    (re.compile(r"https://hooks\.slack\.com/\S+"), f"https://hooks.slack.com/{MASK}"),
    (re.compile(rf"(?i){_NAMED}([\"'])(?:(?!\2)[^\n\\])+"), rf"\1\2{MASK}"),
    # Except a sentence about the name, as in "YEEDU_TOKEN: the value ...".
    (re.compile(rf"(?i){_NAMED}(?!(?<=: )(?-i:[a-z]{{1,64}}) )(?![\"'*])[^\s,;&\"'}}\\]+"), rf"\1{MASK}"),
)


class Masker:
    """Replaces secrets in a text.

    Args:
        secrets: The values to mask, in every form in which they are written.
        users: Names that log in with them, since a header encodes both together.
    """

    def __init__(self, secrets: Iterable[str], users: Iterable[str] = ()) -> None:
        named = tuple(users)
        forms = {form for secret in secrets for form in _forms(secret, named)}
        self._values = sorted(forms, key=len, reverse=True)

    def masked(self, text: str) -> str:
        """Return the text without secrets."""
        for value in self._values:
            text = text.replace(value, MASK)
        text = _URL_LOGIN.sub(f"{MASK}@", text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def masked_document(self, found: Any) -> Any:
        """Return a JSON document without secrets, masked by string: some patterns reach to its end."""
        if isinstance(found, str):
            return self.masked(found)
        if isinstance(found, list):
            return [self.masked_document(one) for one in cast("list[Any]", found)]
        if isinstance(found, dict):
            items = cast("dict[str, Any]", found).items()
            return {
                name: MASK if isinstance(one, str) and one and is_secret(name) else self.masked_document(one)
                for name, one in items
            }
        return found

    def has_secret(self, text: str) -> bool:
        """Tell whether a text contains a known value, in any of its forms."""
        return any(value in text for value in self._values)


def _forms(secret: str, users: tuple[str, ...]) -> Iterator[str]:
    """Yield a secret, its parts, and how they are written in addresses, headers and JSON."""
    lines = [line.strip() for line in secret.splitlines() if len(line.strip()) >= 16 and "-----" not in line]
    parts = [secret.strip(), *(lines if "\n" in secret.strip() else [])]
    if re.fullmatch(r"[^\s:/]+:\S+", secret.strip()):  # a login, user:password
        parts.append(secret.strip().partition(":")[2])
    for part in parts:
        if len(part) < _SHORTEST:
            continue
        yield part
        for quoted in (quote(part, safe=""), quote(part), quote_plus(part)):
            yield quoted
            yield _ESCAPE.sub(lambda escape: escape[0].lower(), quoted)
        yield json.dumps(part)[1:-1]
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        for text in (part, f"{part}:", *(f"{user}:{part}" for user in users)):
            encoded = base64.b64encode(text.encode()).decode()
            yield encoded
            yield encoded.rstrip("=")


def secrets_of(site: Site) -> set[str]:
    """Return every secret that can be read: the settings', those of files that they name, the platform's own.

    `Site.unknown` says whether there are others.
    """
    found = set(_secrets_of_settings(site))
    for read in (site.secrets, site.kept_secrets):
        with suppress(CommandError):
            found |= set(read().values())
    return {one for one in found if one.strip()}


def users_of(site: Site) -> set[str]:
    """Return the names that log in with the platform's secrets: to Yeedu, git hosts and databases."""
    own = (site.settings.get("YEEDU_USERNAME", "demo"), "prefect", "warehouse", "admin", "")
    return {*_GIT_USERS, *own}


def _secrets_of_settings(site: Site) -> Iterator[str]:
    """Yield the secrets of the shell, of each ``.env``, of flows.env, and of the files that they name."""
    values = list(site.settings.values.items())
    for file in site.root.glob(".env*"):  # an editor's leftovers too
        values += _lines_of(site, file)
    with suppress(CommandError):  # the check of the settings reports it
        for file in site.settings.config_dir().glob("flows.env"):
            own = _lines_of(site, file)
            yield from (value for _, value in own if not _NO_SECRET.fullmatch(value))
            values += own
    known = known_names(site.root)
    for name, value in values:
        if is_secret(name) and (name in known or len(value) >= _SHORTEST_OF_OTHERS):
            yield value.strip().strip("'\"")
        if (name.upper().endswith("_FILE") and is_secret(name[: -len("_FILE")])) or "SSH_KEY_FILE" in name:
            yield _text(site.root / Path(value).expanduser()) if value else ""
        for login in re.findall(r"://([^/?#@\s]+)@", value):
            yield login
            yield login.partition(":")[2]


def _lines_of(site: Site, file: Path) -> list[tuple[str, str]]:
    """Return the names and values of a file, both as written and as read."""
    script = dotenv_script()
    try:
        written = [(one.name, one.value or "") for one in script.lines_of(_text(file), file.name)]
        return [*written, *script.read_dotenv(file, site.settings.values).items()]
    except ValueError:  # a line is malformed: take whatever looks like a setting
        found = re.findall(r"(?m)^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*(.*)$", _text(file))
        return [(name, value.strip().strip("'\"")) for name, value in found]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    except OSError:
        return ""
