"""Templates in prefect.yaml: `{{ $NAME }}`, `{{ prefect.variables.x }}` and `{{ prefect.blocks.type.name }}`.

They are put in when a deployment is applied, as `prefect deploy` does; in pull steps they wait for the run.
"""

import re
from collections.abc import Collection
from collections.abc import Mapping as EnvironmentMapping
from typing import Any, Protocol, cast

from prefect.utilities.templating import (
    BLOCK_DOCUMENT_PLACEHOLDER_PREFIX,
    PLACEHOLDER_CAPTURE_REGEX,
    Placeholder,
    PlaceholderType,
    find_placeholders,
)
from pydantic import JsonValue

from yeedu_deployer.declared.yaml_marks import Items, Mapping, Problems, marked

VARIABLE_PATTERN = re.compile(r"{{\s*\$([\w.\-\[\]$]+)\s*}}")
ON_THE_SERVER = (PlaceholderType.VARIABLE, PlaceholderType.BLOCK_DOCUMENT)
VALUES = ("parameters", "job_variables")  # below these, keys are the user's own
PREFECT_KIND = "__prefect_kind"
RUN_TIME_PREFIX = "ctx."  # rendered by the worker


class Lookup(Protocol):
    """What templates need of a Prefect server; it remembers what blocks gave, which no report may show."""

    def variable(self, name: str) -> JsonValue:
        """Return a variable's value, or raise a `LookupError`."""
        ...

    def block(self, kind: str, name: str, keypath: str) -> JsonValue:
        """Return what a block holds, as Prefect's own templates give it, or raise a `LookupError`.

        `kind` is the slug of the block's type; `keypath` is a part of it, for example `value.key[0]`, and
        empty for all, or for its one `value`.
        """
        ...


class Templates:
    """Puts values into templates."""

    def __init__(self, environment: EnvironmentMapping[str, str], lookup: Lookup | None = None) -> None:
        """Take the values from here; without the server, its templates stay as they are."""
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
        """Return marked data with all values put in; what cannot be is told.

        Args:
            node: The marked data, which `where` is the name of in messages.
            where: See above.
            problems: Gets what is wrong.
            line: The line to name for a text that is no part of anything.
            keeps: Whether other templates stay for somebody else; otherwise they are a mistake.
            skips: Keys below which everything stays.
            is_value: Whether all keys count; elsewhere those that begin with `x-` are left out.
        """
        if isinstance(node, Mapping):
            keeps = keeps or PREFECT_KIND in node

            def below(key: str, value: Any, line: int) -> Any:
                inner = is_value or key in VALUES
                return (
                    value
                    if key in skips
                    else self.put_in(value, where, problems, line, keeps=keeps, skips=skips, is_value=inner)
                )

            extras = () if is_value else [key for key in node if key.startswith("x-")]
            return node.without(extras).mapped(below)
        if isinstance(node, Items):
            return node.mapped(
                lambda one, line: self.put_in(
                    one, where, problems, line, keeps=keeps, skips=skips, is_value=is_value
                )
            )
        if not isinstance(node, str) or "{{" not in node:
            return node
        try:
            whole = next((one for one in find_placeholders(node) if one.full_match == node), None)
            if whole and whole.type in ON_THE_SERVER and self._lookup:
                return marked(self._value(whole, node, keeps=keeps), line)
            return PLACEHOLDER_CAPTURE_REGEX.sub(lambda match: self._inline(match, node, keeps=keeps), node)
        except LookupError as error:
            problems.add(line, f"{where}: {str(error.args[0]).rstrip('.')}.")
            return node

    def _value(self, placeholder: Placeholder, text: str, *, keeps: bool) -> JsonValue:
        name = placeholder.name
        if placeholder.type is PlaceholderType.ENV_VAR:
            name = name.lstrip("$")
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
                return self._lookup.variable(name.removeprefix("prefect.variables."))
            kind, _, rest = name.removeprefix(BLOCK_DOCUMENT_PLACEHOLDER_PREFIX).partition(".")
            if not rest:
                raise LookupError(
                    f"{text!r} needs a block's type and name: {{{{ prefect.blocks.TYPE.NAME }}}}."
                )
            block, _, keypath = rest.partition(".")
            return self._lookup.block(kind, block, keypath)
        if keeps or name.startswith(RUN_TIME_PREFIX):
            return placeholder.full_match
        raise LookupError(
            f"{text!r} would be filled in by a build step, which there is none of; write the value, or "
            "{{ $NAME }}, {{ prefect.variables.NAME }} or {{ prefect.blocks.TYPE.NAME }}."
        )

    def _inline(self, match: re.Match[str], text: str, *, keeps: bool) -> str:
        [placeholder] = find_placeholders(match.group(0))
        value = self._value(placeholder, text, keeps=keeps)
        if isinstance(value, dict | list) and placeholder.type is PlaceholderType.BLOCK_DOCUMENT:
            raise LookupError(
                f"{match.group(0)!r} is a whole block; name a part of it to put it into a text."
            )
        return str(value)

    def unset(self, node: Any) -> tuple[str, ...]:
        """Return the environment variables that a part names and that are not set."""
        named = {
            one.name.lstrip("$") for one in find_placeholders(node) if one.type is PlaceholderType.ENV_VAR
        }
        return tuple(sorted(named - self.environment.keys()))


def has_template(node: Any, types: Collection[PlaceholderType] = tuple(PlaceholderType)) -> bool:
    """Tell whether a part has a template, or one of some types."""
    if isinstance(node, dict):
        return any(has_template(one, types) for one in cast("dict[str, Any]", node).values())
    if isinstance(node, list | tuple):
        return any(has_template(one, types) for one in cast("list[Any]", node))
    return isinstance(node, str) and any(one.type in types for one in find_placeholders(node))


def needs_server(node: Any) -> bool:
    """Tell whether a part has a template that only the server can fill in."""
    return has_template(node, ON_THE_SERVER)


def resolve_at_run_time(text: str, environment: EnvironmentMapping[str, str]) -> str:
    """Replace every `{{ $NAME }}` as a worker does when it pulls: an unset variable becomes an empty text."""
    return VARIABLE_PATTERN.sub(lambda match: environment.get(match.group(1), ""), text)
