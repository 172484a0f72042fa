"""`{{ $NAME }}` in prefect.yaml: the environment's values, put in when a deployment is applied."""

import re
from collections.abc import Mapping as EnvironmentMapping

# The placeholder as Prefect itself recognises it, narrowed to environment variables.
VARIABLE_PATTERN = re.compile(r"{{\s*\$([\w.\-\[\]$]+)\s*}}")


class UnsetVariableError(LookupError):
    """A template names an environment variable that is not set."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def resolve(text: str, environment: EnvironmentMapping[str, str]) -> str:
    """Replace every `{{ $NAME }}` in a text; other placeholders stay as they are.

    Raises:
        UnsetVariableError: A named variable is not set. An empty value counts as set.
    """

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environment:
            raise UnsetVariableError(name)
        return environment[name]

    return VARIABLE_PATTERN.sub(replacement, text)


def unset_variables(text: str, environment: EnvironmentMapping[str, str]) -> tuple[str, ...]:
    """Return the variables that a text names and the environment does not have."""
    return tuple(name for name in VARIABLE_PATTERN.findall(text) if name not in environment)


def resolve_at_run_time(text: str, environment: EnvironmentMapping[str, str]) -> str:
    """Replace every `{{ $NAME }}` as a worker does when it pulls: an unset variable becomes an empty text."""
    return VARIABLE_PATTERN.sub(lambda match: environment.get(match.group(1), ""), text)
