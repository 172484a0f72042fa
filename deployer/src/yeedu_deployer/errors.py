"""The deployer's errors, each with a clear sentence for the person who runs it.

DeployerError
  SpecError            prefect.yaml or work-pools.yaml is wrong; one sentence per problem, with file and line
  SelectionError       --only asks for what prefect.yaml does not have; one sentence per mistake
  ConfigurationError   an environment variable or a secret file is missing or wrong
  SourceError          the git repository cannot be read
  FlowError            an entrypoint does not give a flow
  ServerError          the Prefect server is unreachable or refused a request
    RefusedError       it lacks what was asked for, or denies it to this login
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from yeedu_worker.printable import printable

HIDDEN = "********"
# A shorter secret is as likely to be an ordinary word, which would make a report unreadable.
MINIMUM_HIDDEN_CHARACTERS = 6


class DeployerError(Exception):
    """The deployer cannot do what it was asked; its text is meant for people.

    `key` is the key of prefect.yaml at fault, if the error is about one deployment.
    """

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


class SpecError(DeployerError):
    """A file that declares the desired state is wrong; each of its problems begins `file:line:`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type["SpecError"], tuple[tuple[str, ...]]]:
        return (type(self), (self.problems,))


class SelectionError(DeployerError):
    """What `--only` asks for is not in the file."""


class ConfigurationError(DeployerError):
    """An environment variable, or the file that it names, is missing or wrong."""


class SourceError(DeployerError):
    """The git repository that a deployment pulls from cannot be read."""


class FlowError(DeployerError):
    """An entrypoint does not give a flow that could run."""


class ServerError(DeployerError):
    """The Prefect server does not answer, or refused a request."""


class RefusedError(ServerError):
    """The Prefect server lacks what was asked for, or denies it to this login."""


E = TypeVar("E", bound=DeployerError)


@dataclass(frozen=True)
class Place:
    """Where a deployment and its keys are declared, with which every sentence about it begins."""

    file: str
    line: int
    lines: Mapping[str, int]
    name: str

    def tell(self, error: E, key: str = "", *, is_shared: bool = False) -> E:
        """Return the error with the place in front; a shared one is about other deployments as well.

        An error without a key is not about this deployment, and stays as it is.
        """
        key = error.key or key
        if not key:
            return error
        text = re.sub(r"\A(The|It|No) ", lambda found: found[0].lower(), str(error))
        of = "" if is_shared else f" deployment {self.name!r}:"
        return type(error)(f"{self.file}:{self.lines.get(key, self.line)}:{of} {text}")


def redact(text: str, secrets: Sequence[str]) -> str:
    """Replace every secret in a text, longer ones first, so that no part of one is left."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MINIMUM_HIDDEN_CHARACTERS:
            text = text.replace(secret, HIDDEN)
    return text


def shown(line: str, secrets: Sequence[str]) -> str:
    """Return a line that is safe to print: without secrets, and with control characters escaped."""
    return printable(redact(line, secrets))
