"""Writes a notebook's parameters as the code of one cell, whose place follows papermill's convention."""

from __future__ import annotations

import json
import keyword
import math
from typing import TYPE_CHECKING, Any, cast

from prefect_yeedu.errors import YeeduConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PARAMETERS_TAG = "parameters"
INJECTED_TAG = "injected-parameters"


def parameters_code(parameters: Mapping[str, Any], language: str | None) -> str:
    """Return the code of a cell that assigns parameters.

    Args:
        parameters: Values by variable name: text, numbers, booleans, None, and lists and dicts of them.
        language: The notebook's language as Yeedu names it; None means Python.

    Raises:
        YeeduConfigurationError: A name or value cannot be written as code, or the notebook's language does
            not support parameters.
    """
    check_parameters(parameters)
    word = (language or "python").casefold()
    if word.startswith("py"):
        return "\n".join(["# Parameters", *(f"{name} = {_python(parameters[name])}" for name in parameters)])
    if "scala" in word:
        return "\n".join(
            ["// Parameters", *(f"val {name} = {_scala(parameters[name])}" for name in parameters)]
        )
    raise YeeduConfigurationError(
        f"Parameters can be given to notebooks in Python and Scala, and this one is in {language}; "
        "leave parameters out, or use arguments or conf."
    )


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check that a notebook can be given these parameters.

    Raises:
        YeeduConfigurationError: A name cannot be a variable's, or a value cannot be written as code.
    """
    for name, value in parameters.items():
        if not name.isidentifier() or keyword.iskeyword(name):
            raise YeeduConfigurationError(
                f"The parameter '{name}' cannot be a variable's name; use letters, digits and underscores."
            )
        try:
            _python(value)
        except _NoLiteralError as error:
            failure = YeeduConfigurationError(
                f"The parameter '{name}' holds {error}; give text, numbers, booleans, None, "
                "or lists and dicts (with text as keys) of them."
            )
        except RecursionError:
            failure = YeeduConfigurationError(f"The parameter '{name}' is nested too deeply.")
        else:
            continue
        raise failure


class _NoLiteralError(Exception):
    """A value cannot be written as code; the text says what it is."""


def _python(value: object) -> str:
    match value:
        case None | bool():
            return repr(value)
        case int():
            return int.__repr__(value)
        case float():
            return float.__repr__(value) if math.isfinite(value) else f'float("{float(value)}")'
        case str():
            return str.__repr__(value)
        case list() | tuple():
            return f"[{', '.join(map(_python, cast('list[object]', value)))}]"
        case dict():
            return f"{{{', '.join(_pairs(cast('dict[object, object]', value), _python, ': '))}}}"
        case _:
            raise _NoLiteralError(f"a value of type {type(value).__name__}")


def _scala(value: object) -> str:
    match value:
        case None:
            return "None"
        case bool():
            return str(value).lower()
        case int():
            digits, bits = int.__repr__(value), value.bit_length()
            return digits if bits < 32 else f"{digits}L" if bits < 64 else f'BigInt("{digits}")'
        case float():
            if math.isfinite(value):
                return float.__repr__(value)
            return (
                "Double.NaN"
                if math.isnan(value)
                else f"Double.{'Positive' if value > 0 else 'Negative'}Infinity"
            )
        case str():
            return json.dumps(value)
        case list() | tuple():
            return f"Seq({', '.join(map(_scala, cast('list[object]', value)))})"
        case dict():
            return f"Map({', '.join(_pairs(cast('dict[object, object]', value), _scala, ' -> '))})"
        case _:
            raise _NoLiteralError(f"a value of type {type(value).__name__}")


def _pairs(values: dict[object, object], literal: Callable[[object], str], between: str) -> list[str]:
    for key in values:
        if not isinstance(key, str):
            raise _NoLiteralError(f"a dict with the key {key!r:.50}")
    return [f"{literal(key)}{between}{literal(value)}" for key, value in values.items()]
