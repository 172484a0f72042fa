"""Templates in prefect.yaml: `{{ $NAME }}`, `{{ prefect.variables.x }}` and `{{ prefect.blocks.type.name }}`.

They are filled in when a deployment is applied, as by `prefect deploy`; in pull steps, they wait for the run.
"""

import re
from collections.abc import Callable, Collection
from collections.abc import Mapping as EnvironmentMapping
from typing import Any, Protocol

from prefect.utilities.templating import (
    BLOCK_DOCUMENT_PLACEHOLDER_PREFIX,
    PLACEHOLDER_CAPTURE_REGEX,
    VARIABLE_PLACEHOLDER_PREFIX,
    Placeholder,
    PlaceholderType,
    determine_placeholder_type,
    find_placeholders,
)
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from yeedu_deployer.declared.yaml_marks import Items, Mapping, Problems, marked

ON_THE_SERVER = (PlaceholderType.VARIABLE, PlaceholderType.BLOCK_DOCUMENT)
VALUES = ("parameters", "job_variables")  # below these, keys are the user's own
PREFECT_KIND = "__prefect_kind"
RUN_TIME_PREFIX = "ctx."  # rendered by the worker


class Lookup(Protocol):
    """What templates need from a Prefect server; it remembers block values, which no report may show."""

    def variable(self, name: str) -> JsonValue:
        """Return a variable's value, or raise a `LookupError`."""
        ...

    def block(self, kind: str, name: str, keypath: str) -> JsonValue:
        """Return what a block holds, as Prefect's own templates do, or raise a `LookupError`.

        `kind` is the slug of the block's type; `keypath` selects a part, for example `value.key[0]`, and is
        empty for all of it, or for its only `value`.
        """
        ...


def fill(text: str, value_of: Callable[[Placeholder], Any]) -> Any:
    """Fill in the placeholders of a text; one that is the whole text gives its value, of any type."""

    def value(match: re.Match[str]) -> Any:
        return value_of(Placeholder(match[1], match[2], determine_placeholder_type(match[2])))

    if whole := PLACEHOLDER_CAPTURE_REGEX.fullmatch(text):
        return value(whole)
    return PLACEHOLDER_CAPTURE_REGEX.sub(lambda match: str(value(match)), text)


def block_of(placeholder: Placeholder) -> tuple[str, str, str]:
    """Return the type, name and key path of a placeholder's block; missing parts are empty."""
    kind, _, rest = placeholder.name.removeprefix(BLOCK_DOCUMENT_PLACEHOLDER_PREFIX).partition(".")
    name, _, keypath = rest.partition(".")
    return kind, name, keypath


def variable_of(placeholder: Placeholder) -> str:
    """Return the name of a placeholder's environment variable or Prefect variable."""
    return placeholder.name.removeprefix(VARIABLE_PLACEHOLDER_PREFIX).lstrip("$")


class Templates:
    """Fills in templates; without a `lookup`, those that need the server stay as they are."""

    def __init__(self, environment: EnvironmentMapping[str, str], lookup: Lookup | None = None) -> None:
        self.environment = environment
        self._lookup = lookup

    def put_in(
        self,
        node: Any,
        where: str,
        problems: Problems,
        line: int,
        *,
        keeps: bool = True,
        skips: Collection[str] = (),
        is_value: bool = False,
    ) -> Any:
        """Return marked data with its templates filled in; report those that cannot be.

        Args:
            node: The marked data.
            where: How messages name it.
            problems: Collects what is wrong.
            line: The line to report for a text outside any mapping or list.
            keeps: Whether other templates are left for a later stage; otherwise they are mistakes.
            skips: Keys below which nothing is filled in.
            is_value: Whether all keys count; elsewhere those that begin with `x-` are left out.
        """

        def below(key: str, value: Any, line: int) -> Any:
            inner = is_value or key in VALUES
            return (
                value
                if key in skips
                else self.put_in(value, where, problems, line, keeps=keeps, skips=skips, is_value=inner)
            )

        if isinstance(node, Mapping):
            keeps = keeps or PREFECT_KIND in node
            extras = () if is_value else [key for key in node if key.startswith("x-")]
            return node.without(extras).mapped(below)
        if isinstance(node, Items):
            return node.mapped(lambda one, line: below("", one, line))
        if not isinstance(node, str) or "{{" not in node:
            return node
        try:
            return marked(fill(node, lambda one: self._value(one, node, keeps=keeps)), line)
        except LookupError as error:
            problems.add(line, f"{where}: {str(error.args[0]).rstrip('.')}.")
            return node

    def _value(self, placeholder: Placeholder, text: str, *, keeps: bool) -> JsonValue:
        name = variable_of(placeholder)
        if placeholder.type is PlaceholderType.ENV_VAR:
            if name not in self.environment:
                raise LookupError(
                    f"the environment variable {name} is not set; set it, in flows.env if it is your own, "
                    "and apply again."
                )
            return self.environment[name]
        if placeholder.type in ON_THE_SERVER:
            if self._lookup is None:
                return placeholder.full_match
            if placeholder.type is PlaceholderType.VARIABLE:
                return self._lookup.variable(name)
            kind, block, keypath = block_of(placeholder)
            if not block:
                raise LookupError(
                    f"{text!r} needs a block's type and name: {{{{ prefect.blocks.TYPE.NAME }}}}."
                )
            value = self._lookup.block(kind, block, keypath)
            if isinstance(value, dict | list) and text != placeholder.full_match:
                whole = f"{placeholder.full_match!r} is a whole block"
                raise LookupError(f"{whole}; name a part of it to put it into a text.")
            return value
        if keeps or name.startswith(RUN_TIME_PREFIX):
            return placeholder.full_match
        raise LookupError(
            f"{text!r} would be filled in by a build step, which there is none of; write the value, or "
            "{{ $NAME }}, {{ prefect.variables.NAME }} or {{ prefect.blocks.TYPE.NAME }}."
        )

    def unset(self, node: Any) -> tuple[str, ...]:
        """Return the unset environment variables that a part names."""
        found = find_placeholders(node)
        named = {variable_of(one) for one in found if one.type is PlaceholderType.ENV_VAR}
        return tuple(sorted(named - self.environment.keys()))


def has_template(node: Any, types: Collection[PlaceholderType] = tuple(PlaceholderType)) -> bool:
    """Tell whether a part has a template of one of these types."""
    return any(one.type in types for one in find_placeholders(to_jsonable_python(node)))


def needs_server(node: Any) -> bool:
    """Tell whether a part has a template that only the server can fill in."""
    return has_template(node, ON_THE_SERVER)


def resolve_at_run_time(text: str, environment: EnvironmentMapping[str, str]) -> str:
    """Replace every `{{ $NAME }}` as a worker does when it pulls: an unset variable becomes an empty text."""

    def value(one: Placeholder) -> str:
        is_variable = one.type is PlaceholderType.ENV_VAR
        return environment.get(variable_of(one), "") if is_variable else one.full_match

    return str(fill(text, value))
