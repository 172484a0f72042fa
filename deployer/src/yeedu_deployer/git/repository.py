"""The repositories of flows as the deployer reaches them: which logins, and what of its environment."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from yeedu_deployer.declared.flow_source import BLOCK_PATTERN, OUTPUT_PATTERN, Source
from yeedu_deployer.declared.pull_steps import PullStep
from yeedu_deployer.errors import SourceError
from yeedu_worker.git.addresses import Address, logins_of
from yeedu_worker.git.reasons import PLATFORM_HINTS, Reason
from yeedu_worker.git.remote import Remote

# Gives what a block holds, by its type, its name and the path of a key in it: a text, or fields by name.
# A Prefect variable is of the type `VARIABLE`, or `OPEN_VARIABLE` where its value is no secret. May raise a
# `DeployerError`.
FindValue = Callable[[str, str, str], object]
VARIABLE, OPEN_VARIABLE = "variables", "open variables"
PLACES = ("repository", "branch", "commit_sha", "clone_directory_name", "directory")
_VARIABLE_PATTERN = re.compile(r"{{\s*prefect\.variables\.(\w+)\s*}}")
# git gets what it needs to reach a repository, and none of the deployer's secrets.
PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "GIT_SSH_COMMAND", "SSH_AUTH_SOCK"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
)


def with_variables(steps: tuple[PullStep, ...], find: FindValue) -> tuple[PullStep, ...]:
    """Put the values of Prefect variables into where steps clone from and to, as a run would.

    Raises:
        DeployerError: There is no such variable.
    """

    def filled(text: str) -> str:
        return _VARIABLE_PATTERN.sub(lambda match: str(find(OPEN_VARIABLE, match[1], "")), text)

    return tuple(
        replace(
            step,
            inputs={
                key: filled(value) if key in PLACES and isinstance(value, str) else value
                for key, value in step.inputs.items()
            },
        )
        for step in steps
    )


def remote_of(source: Source, find: FindValue | None = None, platform_token: str | None = None) -> Remote:
    """Return the repository of a source with the logins to try for it.

    Args:
        source: What a step would clone.
        find: Reads blocks and variables; needed where the credential names any.
        platform_token: The block with the platform's token for its host, or None; it is used too where the
            credential is what another step gives.

    Raises:
        SourceError: Its credential is not there, or a token would have to travel unencrypted.
        GitError: Its URL cannot be one, or its credential holds no token.
    """
    address, hints, credential = Address.of(source.url), PLATFORM_HINTS, source.credential
    output = next((match for _, text in credential if (match := OUTPUT_PATTERN.search(text))), None)
    if output:
        hint = (
            f"the step takes it from {output[0]}, which another step gives, and the deployer runs no step: "
            "set FLOWS_GIT_TOKEN for its own reading, or name a block or {{ $NAME }}"
        )
        hints = {**hints, Reason.NO_LOGIN: hint}
        own = f"{{{{ prefect.blocks.secret.{platform_token} }}}}"
        credential = (("access_token", own),) if platform_token else ()
    if credential and address.scheme == "http":
        raise SourceError(
            f"A token is configured for {address.url}, but Prefect sends tokens over https only; "
            "use an https URL or leave the token out."
        )
    fields: dict[str, object] = {}
    for name, text in credential:
        value = _value(text, find)
        fields |= cast("dict[str, object]", value) if isinstance(value, dict) else {name: value}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith("GIT_CONFIG_")
    }
    return Remote(address, environment, logins_of(address, fields), hints)


def _value(text: str, find: FindValue | None) -> object:
    """Return what a text is once its blocks and variables are read: the value of the only one, or a text."""
    if find is None:
        return text
    if match := BLOCK_PATTERN.fullmatch(text):
        return find(*match.groups())
    text = BLOCK_PATTERN.sub(lambda match: str(find(*match.groups())), text)
    return _VARIABLE_PATTERN.sub(lambda match: str(find(VARIABLE, match[1], "")), text)
