"""Where a flow's code is once a worker has taken the pull steps, as Prefect's engine goes about it."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast
from urllib.parse import urlsplit

from yeedu_deployer.declared.pull_steps import GIT_CLONE, SET_WORKING_DIRECTORY, Inputs, PullStep
from yeedu_deployer.declared.templating import resolve_at_run_time
from yeedu_deployer.errors import SourceError
from yeedu_worker.git.addresses import Address, is_commit
from yeedu_worker.git.reasons import GitError
from yeedu_worker.git.remote import Wanted

REVISION_KEYS = ("branch", "commit_sha")
CREDENTIAL_KEYS = ("access_token", "credentials")
BLOCK_PATTERN = re.compile(r"{{\s*prefect\.blocks\.([a-z0-9-]+)\.([a-z0-9-]+)([\w.\[\]-]*)\s*}}")
# What names neither a block nor a Prefect variable is the output of an earlier step.
OUTPUT_PATTERN = re.compile(r"{{\s*(?!prefect\.)([\w.\[\]-]+)\s*}}")
_START = "/the run's own folder"


@dataclass(frozen=True)
class Source:
    """What the git_clone step that brings a flow's code would clone, seen from this machine.

    Attributes:
        revision: A branch, a tag or a commit; empty for the repository's default branch.
        credential: The parts of its credential by name, in which blocks and Prefect variables are named yet.
        wanted: Which folders of it, and whether with submodules.
    """

    url: str
    revision: str = ""
    credential: tuple[tuple[str, str], ...] = ()
    wanted: Wanted = field(default_factory=Wanted)

    def names_block(self, kind: str, name: str) -> bool:
        """Whether a block, by its type and name, holds the credential."""
        found = [BLOCK_PATTERN.search(text) for _, text in self.credential]
        return any(match and match.group(1, 2) == (kind, name) for match in found)


class _Engine:
    """Takes steps as the engine does, but for what they do: of each folder it notes which step makes it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.folder = _START
        self.clones: dict[str, int] = {}
        self.outputs: dict[str, str] = {}
        self.others: list[PullStep] = []

    def take(self, number: int, step: PullStep) -> None:
        """Take one step; a `SourceError` where it needs what a step gives that cannot be taken here."""
        if step.function == GIT_CLONE:
            name = self.text(step, "clone_directory_name") or _default_name(
                self.text(step, "repository"), self.text(step, "branch")
            )
            self.clones[self._path(name)] = number
        elif step.function == SET_WORKING_DIRECTORY:
            self.folder = name = self._path(self.text(step, "directory"))
        else:
            self.others.append(step)
            return
        self.outputs["directory"] = name
        if step.inputs.get("id"):
            self.outputs[f"{step.inputs['id']}.directory"] = name

    def place(self) -> tuple[int, str]:
        """Return which step makes the clone that the flow is in, and in which of its folders."""
        place = self._path(self.outputs.get("directory", ""))
        within = [path for path in self.clones if f"{place}/".startswith(f"{path}/")]
        if not within:
            shown = posixpath.relpath(place, _START) if place.startswith(_START) else place
            names = ", ".join(posixpath.relpath(path, _START) for path in self.clones)
            raise SourceError(
                f"The pull steps leave the flow in {shown!r}, which no git_clone step makes: it would be in "
                f"{names}; let 'set_working_directory' name that, or give the git_clone step a "
                "'clone_directory_name'."
            )
        clone = max(within, key=len)
        return self.clones[clone], place[len(clone) :].strip("/")

    def text(self, step: PullStep, key: str) -> str:
        """Return what an input is when the step is taken."""
        text = resolve_at_run_time(str(step.inputs.get(key) or ""), self.environment).strip()

        def output(match: re.Match[str]) -> str:
            if match[1] in self.outputs:
                return self.outputs[match[1]]
            raise SourceError(
                f"{step.function.rpartition('.')[2]} takes its {key} from {match[0]}, an output of "
                f"{self.origin(match[1])}, and the deployer runs no step; write it in the file, or name a "
                "variable of the environment: {{ $NAME }}."
            )

        return OUTPUT_PATTERN.sub(output, text)

    def origin(self, name: str) -> str:
        """Return the step that an output is of, for people."""
        identity = name.partition(".")[0]
        step = next((one for one in self.others if one.inputs.get("id") == identity), None)
        step = step or (self.others[-1] if self.others else None)
        return f"the step {step.function}" if step else "no earlier step"

    def _path(self, name: str) -> str:
        return posixpath.normpath(posixpath.join(self.folder, name))


def _default_name(repository: str, branch: str) -> str:
    """Return what Prefect calls a clone's folder."""
    try:
        name = urlsplit(Address.of(repository).url).path.rpartition("/")[2].replace(".git", "")
    except GitError as error:
        raise SourceError(str(error)) from None
    return f"{name}-{branch.replace('/', '-')}" if branch else name


def _taken(steps: tuple[PullStep, ...], environment: Mapping[str, str]) -> _Engine:
    engine = _Engine(environment)
    for number, step in enumerate(steps):
        engine.take(number, step)
    return engine


def source_of(steps: tuple[PullStep, ...], environment: Mapping[str, str]) -> tuple[Source, str]:
    """Find out where the flow's code is when the engine has taken the steps with this machine's environment.

    Returns what is cloned, and the directory inside of the clone that entrypoints are relative to, if any.
    What cannot be told is a `SourceError`.
    """
    engine = _taken(steps, environment)
    number, directory = engine.place()
    step = steps[number]
    directories = step.inputs.get("directories")
    wanted = Wanted(
        tuple(map(str, directories)) if isinstance(directories, list) else (),
        step.inputs.get("include_submodules") is True,
    )
    revision = engine.text(step, "branch") or engine.text(step, "commit_sha")
    return Source(
        engine.text(step, "repository"), revision, _credential(step, environment), wanted
    ), directory


def _credential(step: PullStep, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    given: Inputs = {key: step.inputs[key] for key in CREDENTIAL_KEYS if step.inputs.get(key)}
    if isinstance(given.get("credentials"), dict):
        given |= cast("Inputs", given.pop("credentials"))
    return tuple(
        sorted((key, resolve_at_run_time(str(text), environment).strip()) for key, text in given.items())
    )


def at_revision(
    steps: tuple[PullStep, ...], revision: str, environment: Mapping[str, str]
) -> tuple[PullStep, ...]:
    """Let the flow's own repository be cloned at one branch, tag or commit, whatever its steps say.

    Where that cannot be told, the steps stay as they are; `source_of` says why.
    """
    try:
        number, _ = _taken(steps, environment).place()
    except SourceError:
        return steps
    repository = steps[number].inputs.get("repository")
    return tuple(
        _pinned(step, revision)
        if step.function == GIT_CLONE and step.inputs.get("repository") == repository
        else step
        for step in steps
    )


def _pinned(step: PullStep, revision: str) -> PullStep:
    inputs = {key: value for key, value in step.inputs.items() if key not in REVISION_KEYS}
    return replace(step, inputs={**inputs, "commit_sha" if is_commit(revision) else "branch": revision})


def with_commits(steps: tuple[PullStep, ...], environment: Mapping[str, str]) -> tuple[PullStep, ...]:
    """Let a step whose branch is a commit, with this machine's environment, clone that commit."""

    def branch(step: PullStep) -> str:
        return resolve_at_run_time(str(step.inputs.get("branch") or ""), environment).strip()

    return tuple(
        _pinned(step, branch(step)) if step.function == GIT_CLONE and is_commit(branch(step)) else step
        for step in steps
    )


def with_token(
    steps: tuple[PullStep, ...],
    block_name: str,
    host: str,
    environment: Mapping[str, str],
    username: str = "",
) -> tuple[PullStep, ...]:
    """Give the git_clone steps from one host the token of a Secret block, unless they name a credential.

    `username` is the user that the host wants with it; by default Prefect goes by the host's name.
    """
    token = f"{{{{ prefect.blocks.secret.{block_name} }}}}"
    given: Inputs = (
        {"credentials": {"username": username, "access_token": token}}
        if username
        else {"access_token": token}
    )
    return tuple(
        replace(step, inputs={**step.inputs, **given})
        if step.function == GIT_CLONE
        and not any(step.inputs.get(key) for key in CREDENTIAL_KEYS)
        and _token_host(resolve_at_run_time(str(step.inputs.get("repository") or ""), environment)) == host
        else step
        for step in steps
    )


def _token_host(url: str) -> str | None:
    """Return the host that a token would go to; `None` for an address that takes none, such as one of ssh."""
    try:
        address = Address.of(url.strip())
    except GitError:
        return None
    return None if address.scheme == "ssh" else address.host
