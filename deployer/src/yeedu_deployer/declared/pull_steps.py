"""The pull steps of a deployment, as the file declares them."""

from dataclasses import dataclass, field

from pydantic import JsonValue

GIT_CLONE = "prefect.deployments.steps.git_clone"
SET_WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"

Inputs = dict[str, JsonValue]


@dataclass(frozen=True)
class PullStep:
    """One pull step: the function's dotted name and its inputs, with every template left for run time."""

    function: str
    inputs: Inputs
    line: int = field(default=0, compare=False)

    def as_prefect(self) -> dict[str, dict[str, JsonValue]]:
        """The form in which Prefect stores a step."""
        return {self.function: dict(self.inputs)}


def clones(steps: tuple[PullStep, ...]) -> bool:
    """Whether the steps fetch the code from git."""
    return any(step.function == GIT_CLONE for step in steps)


def finds_code_in_image(steps: tuple[PullStep, ...]) -> bool:
    """Whether the steps only say where the code is that the worker's image holds."""
    return bool(steps) and all(step.function == SET_WORKING_DIRECTORY for step in steps)
