"""The pull steps of a deployment: read, and understood as far as the git repository goes."""

import re
from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from yeedu_deployer.declared.templating import resolve_at_run_time
from yeedu_deployer.git.repository import is_commit

REVISION_KEYS = ("branch", "commit_sha")
GIT_CLONE = "prefect.deployments.steps.git_clone"
SET_WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"
BLOCK_PATTERN = re.compile(r"{{\s*prefect\.blocks\.([a-z0-9-]+)\.([a-z0-9-]+)[\w.\[\]-]*\s*}}")


@dataclass(frozen=True)
class PullStep:
    """One pull step: the function's dotted name and its inputs, with every template left for run time."""

    function: str
    inputs: dict[str, JsonValue]
    line: int = field(default=0, compare=False)

    def as_prefect(self) -> dict[str, dict[str, JsonValue]]:
        """The form in which Prefect stores a step."""
        return {self.function: dict(self.inputs)}


@dataclass(frozen=True)
class Source:
    """The repository and revision that a git_clone step would clone, seen from this machine.

    Attributes:
        url: The repository's URL or path.
        revision: A branch, a tag or a commit; empty for the repository's default branch.
        credential: Type and name of the block that holds the credential, or None for an open repository.
    """

    url: str
    revision: str = ""
    credential: tuple[str, str] | None = None


def clones(steps: tuple[PullStep, ...]) -> bool:
    """Whether the steps fetch the code from git."""
    return any(step.function == GIT_CLONE for step in steps)


def finds_code_in_image(steps: tuple[PullStep, ...]) -> bool:
    """Whether the steps only say where the code is that the worker's image holds."""
    return bool(steps) and all(step.function == SET_WORKING_DIRECTORY for step in steps)


def with_access_token(step: PullStep, block_name: str) -> PullStep:
    """Give a git_clone step the token of a Secret block, unless it names its own credential."""
    if step.function != GIT_CLONE or step.inputs.get("access_token") or step.inputs.get("credentials"):
        return step
    placeholder = f"{{{{ prefect.blocks.secret.{block_name} }}}}"
    return PullStep(step.function, {**step.inputs, "access_token": placeholder})


def at_revision(step: PullStep, revision: str) -> PullStep:
    """Let a git_clone step clone one branch, tag or commit, whatever it says itself."""
    if step.function != GIT_CLONE:
        return step
    inputs = {key: value for key, value in step.inputs.items() if key not in REVISION_KEYS}
    return PullStep(step.function, {**inputs, "commit_sha" if is_commit(revision) else "branch": revision})


def with_commit(step: PullStep, environment: EnvironmentMapping[str, str]) -> PullStep:
    """Let a step whose branch is a commit, with this machine's environment, clone that commit."""
    branch = resolve_at_run_time(str(step.inputs.get("branch") or ""), environment).strip()
    return at_revision(step, branch) if is_commit(branch) else step


def source_of(steps: tuple[PullStep, ...], environment: EnvironmentMapping[str, str]) -> Source:
    """Find out what the first git_clone step would clone with this machine's environment."""
    inputs = next(step.inputs for step in steps if step.function == GIT_CLONE)

    def resolved(key: str) -> str:
        return resolve_at_run_time(str(inputs.get(key) or ""), environment).strip()

    match = BLOCK_PATTERN.search(str(inputs.get("access_token") or inputs.get("credentials") or ""))
    credential = (match.group(1), match.group(2)) if match else None
    return Source(resolved("repository"), resolved("branch") or resolved("commit_sha"), credential)
