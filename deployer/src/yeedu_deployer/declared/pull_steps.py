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


# Where the file does not say where the code is, it is in the repository of the platform's flows.
OWN_REPOSITORY = PullStep(GIT_CLONE, {"repository": "{{ $FLOWS_GIT_URL }}", "branch": "{{ $FLOWS_GIT_REF }}"})


def clones(steps: tuple[PullStep, ...]) -> bool:
    """Whether the steps fetch the code from git."""
    return any(step.function == GIT_CLONE for step in steps)


def is_in_image(steps: tuple[PullStep, ...]) -> bool:
    """Whether the steps at most say where the code is that the worker's image holds."""
    return all(step.function == SET_WORKING_DIRECTORY for step in steps)
