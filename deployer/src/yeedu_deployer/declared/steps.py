"""Checks pull steps, in which a mistake would otherwise show only when runs start, and fail every one."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, cast, get_args

from prefect.utilities.templating import PlaceholderType, find_placeholders
from pydantic import JsonValue

from yeedu_deployer.declared.templating import block_of
from yeedu_deployer.declared.validation import hint, nearest
from yeedu_deployer.declared.yaml_marks import Items, Mapping, Problems, describe, value_of

PREFECT_STEPS = "prefect.deployments.steps"
GIT_CLONE = f"{PREFECT_STEPS}.git_clone"
SET_WORKING_DIRECTORY = f"{PREFECT_STEPS}.set_working_directory"
PIP_INSTALL = re.compile(r"prefect\.(\w+\.)*pip_install_requirements")
FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
RESERVED = ("id", "requires")
OUTPUTS = {
    "git_clone": ("directory",),
    "agit_clone": ("directory",),
    "set_working_directory": ("directory",),
    "pull_from_remote_storage": ("directory",),
    "pull_with_block": ("directory",),
    "run_shell_script": ("stdout", "stderr"),
}
# Blocks of these types become a text where a text is expected; any other is a mapping.
TEXT_BLOCKS = ("secret", "string")
ONE_OF = (("branch", "commit_sha"), ("access_token", "credentials"))
Inputs = dict[str, JsonValue]


@dataclass(frozen=True)
class PullStep:
    """One pull step: the function's dotted name and its inputs, with every template left for run time."""

    function: str
    inputs: Inputs
    line: int = field(default=0, compare=False)

    def as_prefect(self) -> dict[str, Inputs]:
        """Return the step in the form in which Prefect stores it."""
        return {self.function: dict(self.inputs)}


# If the file does not say where the code is, it is in the repository of the platform's flows.
OWN_REPOSITORY = PullStep(GIT_CLONE, {"repository": "{{ $FLOWS_GIT_URL }}", "branch": "{{ $FLOWS_GIT_REF }}"})


class StepReader:
    """Reads one list of steps; `notes` collects what could not be checked, and `problems` the mistakes."""

    def __init__(self, where: str, problems: Problems) -> None:
        """Begin with no step; `where` is how messages name the list."""
        self.notes: list[str] = []
        self._where, self._problems = where, problems
        self._outputs: dict[str, tuple[str, ...] | None] = {}  # by the step's id; None: not known

    def read(self, node: Any, line: int) -> tuple[PullStep, ...]:
        """Read `pull`: a list of steps, or a single one."""
        nodes, lines = (node, node.lines) if isinstance(node, Items) else ([node], [line])
        steps = [self._step(one, at) for one, at in zip(nodes, lines, strict=True)]
        return tuple(step for step in steps if step)

    def _step(self, node: Any, line: int) -> PullStep | None:
        if not isinstance(node, Mapping) or len(node) != 1:
            self._tell(line, "a pull step must be one function name with its inputs below it.")
            return None
        [(name, body, line)] = node.entries()
        if not isinstance(body, Mapping):
            wrong = f"needs its inputs below it, but it is {describe(body)}."
            self._tell(line, f"the pull step {name!r} {wrong}")
            return None
        if PIP_INSTALL.fullmatch(name):
            shared = "would change the environment that all runs of a worker share; add the packages to"
            how = "flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)"
            self._tell(line, f"the pull step {name!r} {shared} {how}.")
            return None
        function = self._function(name, line)
        inputs = self._inputs(name, body, inspect.signature(function)) if function else value_of(body)
        self._check_templates(body)
        own = str(body.get("id") or "")
        self._outputs[own or f"line {line}"] = OUTPUTS.get(name.rpartition(".")[2]) if function else None
        return PullStep(name, inputs, line)

    def _function(self, name: str, line: int) -> Callable[..., Any] | None:
        module, _, last = name.rpartition(".")
        meant = f"write '{PREFECT_STEPS}.{last}'" if last in OUTPUTS else "write PACKAGE.MODULE.FUNCTION"
        if not FUNCTION.fullmatch(name):
            self._tell(line, f"the pull step {name!r} is not a function's full name; {meant}.")
        elif not name.startswith("prefect."):
            package = name.partition(".")[0]
            self.notes.append(
                f"{self._where}: the pull step {name!r} is not checked; its workers must have the package "
                f"{package!r}."
            )
        else:
            try:
                found = getattr(import_module(module), last, None)
            except ImportError:
                found = None
            if callable(found):
                return cast("Callable[..., Any]", found)
            near = (
                f"{meant}." if last in OUTPUTS else hint(name, (f"{PREFECT_STEPS}.{one}" for one in OUTPUTS))
            )
            self._tell(line, f"Prefect has no pull step {name!r}; {near}")
        return None

    def _inputs(self, name: str, body: Mapping, signature: inspect.Signature) -> dict[str, Any]:
        """Check and return a step's inputs; where the function takes a text, a scalar keeps its spelling."""
        where, known, meant = name.rpartition(".")[2], signature.parameters, set[str | None]()
        if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()):
            for key, line in body.lines.items():
                if key not in (*known, *RESERVED):
                    meant.add(nearest(key, (*known, *RESERVED)))
                    self._tell(line, f"{where}: the key {key!r} is unknown; {hint(key, (*known, *RESERVED))}")
        for key, parameter in known.items():
            is_needed = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
            if is_needed and body.get(key) is None and key not in meant:
                self._tell(body.line, f"{where}: {key!r} is missing; add it.")
        if name.rpartition(".")[2] in ("git_clone", "agit_clone"):
            self._check_clone(where, body)
        inputs: dict[str, Any] = {}
        for key, value, line in body.entries():
            takes_text = _takes_text(known[key].annotation) if key in known else key == "id"
            if takes_text and isinstance(value, dict | list):
                self._tell(line, f"{where}: {key!r} must be a text, but it is {describe(value)}.")
            block = _block_of(value) if takes_text else None
            if block and block[0] not in TEXT_BLOCKS:
                other = "write it under 'credentials', or name" if key == "access_token" else "name"
                self._tell(
                    line,
                    f"{where}: {key!r} takes a text, and the block {'/'.join(block)!r} is more than that; "
                    f"{other} a part of it: {{{{ prefect.blocks.{'.'.join(block)}.PART }}}}.",
                )
            inputs[key] = str(value) if takes_text and isinstance(value, str) else value_of(value)
        return inputs

    def _check_clone(self, where: str, body: Mapping) -> None:
        for one, other in ONE_OF:
            if body.get(one) and body.get(other):
                self._tell(
                    body.lines[other], f"{where}: takes {one!r} or {other!r}, and has both; leave one."
                )
        block = _block_of(body.get("credentials"))
        if block and block[0] in TEXT_BLOCKS:
            self._tell(
                body.lines["credentials"],
                f"{where}: 'credentials' takes a block of credentials; a token goes under 'access_token'.",
            )

    def _check_templates(self, body: Mapping) -> None:
        """Check that every output that the step uses is given by an earlier step."""
        for name, line in _step_outputs(body, body.line):
            root, _, rest = name.partition(".")
            given = [one for outputs in self._outputs.values() for one in outputs or ()]
            if root in self._outputs:
                outputs = self._outputs[root]
                if rest and outputs is not None and rest not in outputs:
                    self._tell(line, f"the step {root!r} gives no {rest!r}; {hint(rest, outputs)}")
            elif root not in given and None not in self._outputs.values():
                ids = [one for one in self._outputs if not one.startswith("line ")]
                told = hint(root, ids) if ids else "give that step an 'id'."
                self._tell(line, f"no step before this one has the id {root!r}; {told}")

    def _tell(self, line: int, message: str) -> None:
        self._problems.add(line, f"{self._where}: {message}")


def _takes_text(annotation: Any) -> bool:
    return annotation is str or set(get_args(annotation)) == {str, type(None)}


def _block_of(value: Any) -> tuple[str, str] | None:
    """Return the type and name of the block that the whole value names, if it does."""
    found = find_placeholders(value) if isinstance(value, str) else ()
    if len(found) != 1 or next(iter(found)).type is not PlaceholderType.BLOCK_DOCUMENT:
        return None
    kind, name, keypath = block_of(next(iter(found)))
    return (kind, name) if name and not keypath else None


def _step_outputs(node: Any, line: int) -> Iterator[tuple[str, int]]:
    """Yield the outputs of other steps that a step uses, each with its line."""
    if isinstance(node, Mapping):
        for _, value, at in node.entries():
            yield from _step_outputs(value, at)
    elif isinstance(node, Items):
        for value, at in zip(node, node.lines, strict=True):
            yield from _step_outputs(value, at)
    elif isinstance(node, str):
        found = sorted(one.name for one in find_placeholders(node) if one.type is PlaceholderType.STANDARD)
        yield from ((name, line) for name in found)
