"""Describes an entrypoint's flow: by importing it, or from its source if it cannot be imported here."""

import importlib
import inspect
import json
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any, cast, get_type_hints

from jsonschema import exceptions
from prefect.exceptions import MissingFlowError, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint, safe_load_flow_from_entrypoint
from prefect.utilities import importtools
from prefect.utilities.callables import parameter_schema
from prefect.utilities.hashing import file_hash
from prefect.utilities.schema_tools.hydration import Placeholder, hydrate
from prefect.utilities.schema_tools.validation import (
    CircularSchemaRefError,
    ValidationError,
    prioritize_placeholder_errors,
    validate,
)
from pydantic import TypeAdapter

from yeedu_worker.missing_package import advice

MEND = "correct it and push again"
_NO_SERVER = "No Prefect API URL provided"
_FILLED_IN = (
    "the server fills in {!r} only with `enforce_parameter_schema: false`, and not in the runs of a schedule;"
    " write {{{{ prefect.variables.NAME }}}} for the value of a variable when this is applied"
)
AnyFlow = Flow[..., Any]


def describe(entrypoint: str, parameter_sets: list[dict[str, Any]], clone: Path) -> dict[str, Any]:
    """Import an entrypoint in this process, in its runs' working directory, and describe its flow.

    If the import fails for lack of something that a worker may have (a package, a variable, a connection),
    the flow is read from the syntax tree, as `prefect deploy` does. What no worker can import stays an error:
    a syntax error in the repository, or a module or name that the repository itself should contain.

    `parameter_sets` are the deployment's parameters, then those of its schedules. Returns `{"flow":
    FlowFacts}`, or `{"error": sentence without its full stop}`.
    """
    place, _, function = entrypoint.rpartition(":" if ":" in entrypoint else ".")
    file, directory = _source_of(place), Path.cwd()
    no_flow = f"{function!r} in {place} is not a flow; decorate it with @flow"
    missing = f"{place} is not in the repository; push it, or write another 'entrypoint'"
    if place.endswith(".py") and not file:
        return {"error": missing}
    notes: list[str] = []
    try:
        if not place.endswith(".py"):
            importtools.load_module(place)  # apart, as its own AttributeError is not a missing function
        flow: AnyFlow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    except MissingFlowError as error:
        if isinstance(error.__cause__, AttributeError):
            return {"error": f"{place} has no function {function!r}; write one that it has"}
        return {"error": no_flow}
    except BaseException as error:  # noqa: BLE001 - flow code may raise anything, SystemExit included
        cause = error.user_exc if isinstance(error, ScriptError) else error
        os.chdir(directory)
        if isinstance(cause, ModuleNotFoundError) and not file:
            return {"error": missing}
        reason, what_to_do = _explain(cause, file, clone)
        is_readable = file and not _is_of_the_repository(cause, file, clone)
        found = _read_flow(file, function) if file and is_readable else None
        if isinstance(found, FunctionType):
            return {"error": no_flow}
        if not isinstance(found, Flow):
            return {"error": f"{entrypoint} does not import: {reason}; {what_to_do or MEND}"}
        flow = cast("AnyFlow", found)
        told = f"{reason}; {what_to_do}" if what_to_do else reason
        notes = [f"parameters were read from the source, since it does not import here: {told}"]
    schema = parameter_schema(flow).model_dump_for_openapi()
    errors = [
        _parameter_error(values, schema, flow, of_schedule=position > 0)
        for position, values in enumerate(parameter_sets)
    ]
    return {
        "flow": {
            "name": flow.name,
            "description": flow.description,
            "version": _chosen_version(flow),
            "parameter_schema": schema,
            "parameter_errors": errors,
            "notes": notes,
        }
    }


def _source_of(place: str) -> Path | None:
    """Find the file of an entrypoint's script or module, as an import in this folder would."""
    if place.endswith(".py"):
        return Path(place).absolute() if Path(place).is_file() else None
    inner = Path(*place.split("."))
    candidates = [
        Path(folder, tail).absolute()
        for folder in ("", *sys.path)
        for tail in (inner / "__init__.py", inner.with_suffix(".py"))
    ]
    return next((one for one in candidates if one.is_file()), None)


def _chosen_version(flow: AnyFlow) -> str | None:
    """Return the version that the author chose, if any.

    Prefect's default, a hash of the file, would be wrong after the next commit, since runs pull their code.
    """
    with suppress(TypeError, OSError):
        file = inspect.getsourcefile(flow.fn)
        return None if file and flow.version == file_hash(file) else flow.version
    return flow.version


def _is_of_the_repository(cause: BaseException, file: Path, clone: Path) -> bool:
    """Tell whether an import fails for something that the repository itself contains or should contain."""
    if isinstance(cause, SyntaxError):
        return (clone / (cause.filename or file)).resolve().is_relative_to(clone)
    if isinstance(cause, ModuleNotFoundError):
        top = (cause.name or "").partition(".")[0]
        folders = (Path.cwd() / top, file.parent / top)
        return bool(top) and any(
            folder.with_suffix(".py").is_file() or next(folder.glob("*.py"), None) for folder in folders
        )
    path = cause.path if isinstance(cause, ImportError) else None
    return path is not None and Path(path).resolve().is_relative_to(clone)


def _read_flow(file: Path, function: str) -> object:
    """Read a flow from the syntax tree of its file, as `prefect deploy` does; None if nothing can be read.

    Unlike there, an imported module that raises anything counts as missing, and the name may be assigned, as
    in `run = other.with_options(…)`.
    """
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as the engine's own import does
    import_module = importlib.import_module

    def import_or_do_without(name: str, package: str | None = None) -> Any:
        try:
            return import_module(name, package)
        except BaseException as error:
            raise ImportError(name) from error

    importlib.import_module = import_or_do_without  # only in this process, which ends with its answer
    found: Any = None
    try:
        found = safe_load_flow_from_entrypoint(f"{file}:{function}")
    except ValueError:  # no definition has that name
        found = importtools.safe_load_namespace(file.read_text(), str(file)).get(function)
    except Exception:  # noqa: BLE001 - the import's own reason is reported
        return None
    return getattr(found, "__func__", found)  # a static method that was read alone


def _explain(cause: BaseException, file: Path | None, clone: Path) -> tuple[str, str]:
    """Return why an import failed, with its line, and what to do about a package or a variable."""
    name, text = type(cause).__name__, " ".join(str(cause).replace(f"{clone}/", "").split())[:300]
    if isinstance(cause, SyntaxError):
        filename, line, text = cause.filename or str(file), cause.lineno, cause.msg
    else:
        filename, line = _innermost(cause, clone)
    said = f"{name}: {text.rstrip('.')}" if text else name
    if _NO_SERVER in text:
        said = "it asks the Prefect server for something when it is imported"
    where = f" ({_relative(filename, clone)}, line {line})" if line else ""
    what_to_do = advice(cause, Path.cwd(), *([file.parent] if file else []))
    frames = traceback.extract_tb(cause.__traceback__)
    if isinstance(cause, KeyError) and frames[-1].filename in (os.__file__, "<frozen os>"):
        what_to_do = "if its runs get this variable, name it in the deployment's `job_variables.env`"
    return f"{said}{where}", what_to_do or ""


def _innermost(error: BaseException, clone: Path) -> tuple[str, int | None]:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_absolute() and Path(frame.filename).resolve().is_relative_to(clone)
    ]
    return (frames[-1].filename, frames[-1].lineno) if frames else ("", None)


def _relative(filename: str, clone: Path) -> str:
    resolved = (clone / filename).resolve()
    return str(resolved.relative_to(clone)) if resolved.is_relative_to(clone) else Path(filename).name


def _parameter_error(
    values: dict[str, Any], schema: dict[str, Any], flow: AnyFlow, *, of_schedule: bool
) -> str | None:
    """Return why the server would refuse these parameters, or every run with them; None if it would not.

    The server checks a deployment's parameters against the schema: as they are when it is created, and with
    `__prefect_kind` values filled in when a run is requested. It passes a schedule's parameters to the flow
    as they are, and the flow refuses what it cannot convert. The server does not check a text's format, such
    as date-time: the flow takes one without a time zone, which the schema's format does not allow.
    """
    known = sorted(schema.get("properties", {}))
    for name in values:
        if name not in known:
            others = f", or write one of {', '.join(known)}" if known else ""
            return f"the flow has no parameter {name!r}; leave it out{others}"
    try:
        errors = _errors(values, schema, preprocess=False)
        if of_schedule:
            errors = [] if _converts(flow, values) else errors
        else:
            filled = hydrate(values)
            final = [one for one in _errors(filled, schema) if not _is_open(one.instance)]
            if errors and not final:
                return _FILLED_IN.format(errors[0].path[0])
            wrong = {str(one.path[0]): filled[str(one.path[0])] for one in final}
            is_fine = not _errors(wrong, _without_formats(schema)) and _converts(flow, wrong)
            errors = [] if is_fine else final
    except (ValidationError, CircularSchemaRefError) as error:
        said = " ".join(str(error).split()).rstrip(".") or "their schema refers to itself without end"
        return f"the flow's parameters cannot be checked: {said}; change their annotations"
    error: Any = cast("Any", exceptions).best_match(errors)  # chosen as the server does
    if error is None:
        return None
    field, reason = error.json_path.replace("$.", ""), " ".join(error.message.split()).rstrip(".")
    instance = " ".join(repr(error.instance).split())
    if reason.startswith(f"{instance} is "):
        reason = f"is {instance}, which{reason.removeprefix(instance)}"
    else:
        reason = f"does not fit: {reason}"
    return f"parameter {field!r} {reason}; write a value that fits"


def _errors(values: dict[str, Any], schema: Any, *, preprocess: bool = True) -> list[Any]:
    return prioritize_placeholder_errors(
        validate(values, schema, preprocess=preprocess, ignore_required=True)
    )


def _without_formats(schema: dict[str, Any]) -> dict[str, Any]:
    def without(part: dict[str, Any]) -> dict[str, Any]:
        return {key: one for key, one in part.items() if key != "format" or not isinstance(one, str)}

    return json.loads(json.dumps(schema), object_hook=without)


def _is_open(value: Any) -> bool:
    """Tell whether the server fills in a value, or a part of it, for each run."""
    if isinstance(value, dict | list):
        parts = (
            cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
        )
        return any(map(_is_open, parts))
    return isinstance(value, Placeholder) and not value.is_error


def _converts(flow: AnyFlow, values: dict[str, Any]) -> bool:
    """Tell whether the values convert to the types of the flow's parameters."""
    try:
        hints = get_type_hints(flow.fn, include_extras=True)
        for name, value in values.items():
            TypeAdapter(hints.get(name, Any)).validate_python(value)
    except Exception:  # noqa: BLE001 - the flow's own validators may raise anything
        return False
    return True
