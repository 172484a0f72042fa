"""What can go wrong, each as one clear sentence for the person who runs the deployer.

DeployerError
  SpecError            prefect.yaml or work-pools.yaml is wrong; one sentence per problem, with file and line
  SelectionError       --only asks for what prefect.yaml does not have; one sentence per mistake
  ConfigurationError   an environment variable or a secret file is missing or wrong
  SourceError          the git repository cannot be read
  FlowError            an entrypoint does not give a flow
  ServerError          the Prefect server is unreachable or refused a request
    RefusedError       it does not have what was asked for, or does not let this login have it
"""

from collections.abc import Sequence


class DeployerError(Exception):
    """The deployer cannot do what it was asked; its text is meant for people.

    Attributes:
        key: Of what is wrong with one deployment, the key of prefect.yaml that it is about.
    """

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


class SpecError(DeployerError):
    """A file that declares the desired state is wrong.

    Attributes:
        problems: One sentence per problem, each beginning with `file:line:`.
    """

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
    """The Prefect server does not have what was asked for, or does not let this login have it."""
