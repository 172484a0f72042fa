"""The pull steps of a deployment, as the file declares them."""

import re
from dataclasses import dataclass

from pydantic import JsonValue

from yeedu_deployer.declared import keys
from yeedu_deployer.declared.located import Items, Mapping, describe
from yeedu_deployer.declared.section import Section

GIT_CLONE = "prefect.deployments.steps.git_clone"
SET_WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"
PIP_INSTALL = re.compile(r"prefect\.(\w+\.)*pip_install_requirements")

Inputs = dict[str, JsonValue]


@dataclass(frozen=True)
class PullStep:
    """One pull step: the function's dotted name and its inputs, with every template left for run time."""

    function: str
    inputs: Inputs

    def as_prefect(self) -> dict[str, dict[str, JsonValue]]:
        """The form in which Prefect stores a step."""
        return {self.function: dict(self.inputs)}


def clones(steps: tuple[PullStep, ...]) -> bool:
    """Whether the steps fetch the code from git."""
    return any(step.function == GIT_CLONE for step in steps)


def finds_code_in_image(steps: tuple[PullStep, ...]) -> bool:
    """Whether the steps only say where the code is that the worker's image holds."""
    return bool(steps) and all(step.function == SET_WORKING_DIRECTORY for step in steps)


def read_pull(section: Section, where: str) -> tuple[PullStep, ...]:
    """Read `pull`, a list of steps or a single one; problems go to the section's collector."""
    entry = section.entry("pull")
    if entry is None:
        return ()
    nodes = entry.value.items if isinstance(entry.value, Items) else (entry.value,)
    steps: list[PullStep] = []
    for node in nodes:
        if not isinstance(node, Mapping) or len(node.entries) != 1:
            section.problems.add(
                node.line, f"{where}: a pull step must be one function name with its inputs below it."
            )
            continue
        function, body = next(iter(node.entries.items()))
        if not isinstance(body.value, Mapping):
            section.problems.add(
                body.line,
                f"{where}: the pull step {function!r} needs its inputs below it, "
                f"but it is {describe(body.value)}.",
            )
            continue
        if PIP_INSTALL.fullmatch(function):
            section.problems.add(
                node.line,
                f"{where}: the pull step {function!r} would change the environment that all runs of a worker "
                "share; add the packages to flows/requirements.txt, then `make lock` and `make up` "
                "(docs/packages.md).",
            )
            continue
        if function == GIT_CLONE:
            step = Section(body.value, f"{where}: git_clone", section.problems, section.environment)
            step.check_keys(keys.GIT_CLONE)
            if step.entry("repository") is None:
                section.problems.add(body.line, f"{step.where}: 'repository' is missing.")
        inputs = section.plain(body.value, templates=False)
        steps.append(PullStep(function, inputs if isinstance(inputs, dict) else {}))
    return tuple(steps)
