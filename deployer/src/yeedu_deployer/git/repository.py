"""The repositories of flows as the deployer reaches them: logins, git's environment, hints for errors."""

import os
import re
from collections.abc import Callable
from typing import cast

from yeedu_deployer.declared.flow_source import BLOCK_PATTERN, OUTPUT_PATTERN, Source
from yeedu_deployer.errors import SourceError
from yeedu_worker.git.addresses import Address, Login, logins_of_token
from yeedu_worker.git.reasons import Reason
from yeedu_worker.git.remote import Remote

# Gives what a block holds, by its type, its name and the path of a key in it: a text, or fields by name.
# A Prefect variable is of the type `VARIABLE`. May raise a `DeployerError`.
FindValue = Callable[[str, str, str], object]
VARIABLE = "variables"
_VARIABLE_PATTERN = re.compile(r"{{\s*prefect\.variables\.(\w+)\s*}}")
# git gets what it needs to reach a repository, and none of the deployer's secrets.
PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "GIT_SSH_COMMAND", "SSH_AUTH_SOCK"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
)
_CHECK_URL = "check FLOWS_GIT_URL"
_SSH = "name a key in FLOWS_GIT_SSH_KEY_FILE, and the host's keys in FLOWS_GIT_KNOWN_HOSTS_FILE"
HINTS = {
    **dict.fromkeys((Reason.NO_HOST, Reason.NO_ANSWER, Reason.TIMED_OUT, Reason.SILENT), _CHECK_URL),
    Reason.NO_LOGIN: "name a token's file in FLOWS_GIT_TOKEN_FILE",
    Reason.REFUSED: "check that it is valid and may read the repository",
    Reason.CERTIFICATE: "name its CA's file in CA_CERT_FILE (or GIT_SSL_CAINFO)",
    Reason.OWNER: "run 'git config --global --add safe.directory' on it",
    Reason.HOST_KEY: _SSH,
    Reason.SSH_KEY: _SSH,
    Reason.NO_SSH: "install an OpenSSH client",
    Reason.NO_USER: "leave CHECKOUT_UID out of .env, or use an https address",
    Reason.NO_SPACE: "name what the flow needs in the step's 'directories', or another place in TMPDIR",
}


def remote_of(source: Source, find: FindValue, platform_token: str | None) -> Remote:
    """Return the repository of a source with the logins to try for it.

    Args:
        source: What a step would clone.
        find: Reads blocks and variables.
        platform_token: The block with the platform's token for its host, or None; it is used too where the
            credential is what another step gives.

    Raises:
        SourceError: Its credential is not there, or a token would have to travel unencrypted.
        GitError: Its URL cannot be one.
    """
    address, hints = Address.of(source.url), HINTS
    output = next((match for _, text in source.credential if (match := OUTPUT_PATTERN.search(text))), None)
    credential = source.credential
    if output:
        hints = HINTS | {
            Reason.NO_LOGIN: f"the step takes it from {output[0]}, which another step gives, and the "
            "deployer runs no step: set FLOWS_GIT_TOKEN for its own reading, or name a block or {{ $NAME }}"
        }
        own = f"{{{{ prefect.blocks.secret.{platform_token} }}}}"
        credential = (("access_token", own),) if platform_token else ()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith("GIT_CONFIG_")
    }
    return Remote(address, environment, _logins(address, credential, find), hints)


def _logins(address: Address, credential: tuple[tuple[str, str], ...], find: FindValue) -> tuple[Login, ...]:
    fields: dict[str, object] = {}
    for name, text in credential:
        value = _value(text, find)
        fields |= cast("dict[str, object]", value) if isinstance(value, dict) else {name: value}
    if not fields:
        return (address.login,) if address.login else ()
    token = next((fields[name] for name in ("access_token", "token", "password") if fields.get(name)), None)
    if not token:
        named = next((match for _, text in credential if (match := BLOCK_PATTERN.search(text))), None)
        what = f"{named[1]} block {named[2]!r}" if named else f"credential of {address.url}"
        raise SourceError(f"The {what} holds no token.")
    if address.scheme not in ("http", "https"):
        return ()
    if address.scheme == "http":
        raise SourceError(
            f"A token is configured for {address.url}, but Prefect sends tokens over https only; "
            "use an https URL or leave the token out."
        )
    username = fields.get("username")
    return (Login(str(username), str(token)),) if username else logins_of_token(str(token), address.host)


def _value(text: str, find: FindValue) -> object:
    """Return what a text is once its blocks and variables are read: the value of the only one, or a text."""

    def block(match: re.Match[str]) -> object:
        return find(match[1], match[2], match[3])

    if match := BLOCK_PATTERN.fullmatch(text):
        return block(match)
    text = BLOCK_PATTERN.sub(lambda match: str(block(match)), text)
    return _VARIABLE_PATTERN.sub(lambda match: str(find(VARIABLE, match[1], "")), text)
