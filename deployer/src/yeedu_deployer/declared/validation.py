"""What all models of files share: their types, and pydantic's errors as sentences with file and line."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args

from prefect.types.names import BANNED_CHARACTERS
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from yeedu_deployer.declared.templating import Templates, has_template
from yeedu_deployer.declared.yaml_marks import Mapping as Marked
from yeedu_deployer.declared.yaml_marks import Problems, child, describe, locate, value_of
from yeedu_deployer.declared.yaml_reader import load

THE_FILE = "the file"
ABOUT_KEYS = ("missing", "extra_forbidden", "refused")  # errors for which the value does not matter
NEEDED = {
    "name": "write 'name: NAME'.",
    "entrypoint": "write 'entrypoint: folder/file.py:function'.",
    "work_pool": "write 'work_pool: {name: NAME}'.",
}
Model = TypeVar("Model", bound=BaseModel)
KINDS = {
    "string": "a text",
    "int": "a whole number",
    "bool": "true or false",
    "dict": "a mapping",
    "model": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "float": "a number",
    "time": "a number of seconds",
}


class Declared(BaseModel):
    """A mapping in a file. An empty value counts as an absent key; keys beginning with `x-` are ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _only_what_counts(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        entries = cast("dict[str, Any]", data).items()
        return {key: value for key, value in entries if value is not None and not key.startswith("x-")}


def problem(message: str, *at: int | str) -> PydanticCustomError:
    """Return a validator's error about its value or a part of it.

    Args:
        message: What follows the value's name in the sentence, without a space if it begins with a colon.
        at: The path from the value to the part that is wrong.
    """
    return PydanticCustomError("problem", "{message}", {"message": message, "at": at})


def named(name: str) -> str:
    """Check a name as the server does."""
    if not name.strip("' \""):
        raise problem("is empty; write a name.")
    if any(character in name for character in BANNED_CHARACTERS):
        other = re.sub(rf"\s*[{re.escape(''.join(BANNED_CHARACTERS))}]+\s*", "-", name).strip("-") or "a name"
        raise problem(f"may not contain any of {' '.join(BANNED_CHARACTERS)}; write {other!r}.")
    return name


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return value
    return [one for one in cast("list[Any]", value) if one is not None]


Text = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
Name = Annotated[Text, AfterValidator(named)]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_texts),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number"]}}]}
    ),
]
Switch = Annotated[bool, BeforeValidator(value_of)]
Count = Annotated[int, Field(ge=1), BeforeValidator(value_of)]
Values = Annotated[dict[str, JsonValue], BeforeValidator(value_of), WithJsonSchema({"type": "object"})]
Value = Annotated[Any, BeforeValidator(value_of)]


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, if any."""
    return next(iter(difflib.get_close_matches(wrong, list(known), n=1)), None)


def hint(wrong: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word, or list all of them."""
    near = nearest(wrong, known)
    return f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(known)) or 'none'}."


def validated(
    model: type[Model],
    data: Any,
    where: str,
    problems: Problems,
    hints: Mapping[str, str] | None = None,
    *,
    is_final: bool = True,
) -> Model | None:
    """Validate marked data; report everything that pydantic finds wrong, one sentence each.

    `where` names the data in them, for example `deployment 'print-message'`; `hints` say what to write
    instead of some keys. Values that still have a template are reported only if nothing else is wrong and
    they are final: the server will not fill them in.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        _explain(error, data, model, where, problems, hints or {})
        if not problems.found and is_final:
            _explain(error, data, model, where, problems, hints or {}, tells_all=True)
        return None


def _explain(
    error: ValidationError,
    data: Any,
    model: type[BaseModel],
    where: str,
    problems: Problems,
    hints: Mapping[str, str],
    *,
    tells_all: bool = False,
) -> None:
    found = error.errors(include_url=False)
    unknown = [one["loc"] for one in found if one["type"] == "extra_forbidden"]
    meant = {(*at[:-1], nearest(str(at[-1]), _fields(_model_at(model, at[:-1])))) for at in unknown}
    for details in found:
        context: dict[str, Any] = details.get("ctx") or {}
        location = (*details["loc"], *cast("tuple[int | str, ...]", context.get("at", ())))
        line, there, value = locate(data, location)
        if details["type"] == "missing" and location in meant:
            continue
        if not tells_all and details["type"] not in ABOUT_KEYS and has_template(value):
            continue
        is_absent = details["type"] == "missing" and there[-1:] != [location[-1]]
        subject = _subject(where, [*there, location[-1]] if is_absent else there, data)
        if details["type"] == "extra_forbidden":
            place, _, key = subject.rpartition(": ")
            wrong = str(location[-1])
            told = hints.get(wrong) or _place_of(wrong, _model_at(model, location[:-1]))
            problems.add(line, f"{place}: the key {key} is unknown; {told}")
        else:
            told = _reason(details, context)
            problems.add(line, f"{subject}{told}" if told.startswith(":") else f"{subject} {told}")


def _subject(where: str, path: Sequence[int | str], data: Any) -> str:
    """Name a place: "deployment 'one': schedule 2: 'cron'", or "work pool 'one': 'type'"."""
    words = [] if where == THE_FILE and len(path) > 1 and isinstance(path[1], int) else [where]
    for number, part in enumerate(path):
        data = (child(data, part) or (None,))[0]
        if isinstance(part, int):
            what = words.pop().removesuffix("s").replace("_", " ")
            name = str(data.get("name") or "") if isinstance(data, Marked) and not words else ""
            words.append(f"{what} {name!r}" if name else f"{what} {part + 1}")
        else:
            words.append(repr(part) if number == len(path) - 1 else part)
    return ": ".join(words)


def _reason(details: ErrorDetails, context: dict[str, Any]) -> str:
    kind = details["type"]
    if kind == "missing":
        return f"is missing; {NEEDED.get(str(details['loc'][-1]), 'add it.')}"
    if kind in ("problem", "refused", "value_error"):
        return details["msg"].removeprefix("Value error, ")
    expected = KINDS.get(kind.partition("_")[0], "")
    if kind == "literal_error":
        expected = str(context["expected"])
    elif kind.startswith(("greater_than", "less_than")):
        bound, side = next((context[key], key) for key in ("ge", "le", "gt", "lt") if key in context)
        expected = f"a whole number of at {'least' if side.startswith('g') else 'most'} {bound}"
    if not expected:
        return f": {details['msg'][0].lower()}{details['msg'][1:].rstrip('.')}."
    return f"must be {expected}, but it is {describe(details['input'])}."


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    for part in location:
        inner = next(_models(_fields(model).get(str(part))), None)
        model = inner or model
    return model


def _place_of(key: str, model: type[BaseModel]) -> str:
    """Say which key was meant, or under which other key it belongs."""
    known = _fields(model)
    for name, annotation in known.items():
        if any(key in _fields(inner) for inner in _models(annotation)):
            return f"write it under {name!r}."
    near = nearest(key, known)
    told = f"leave it out, or call it {f'x-{key}'!r}; known keys are {', '.join(sorted(known))}."
    return f"did you mean {near!r}?" if near else told


def read_model(path: Path, environment: Mapping[str, str], model: type[Model], *runs: str) -> Model:
    """Read a file as one model; raise one `SpecError` with all of its mistakes.

    `runs` are keys whose templates are rendered later, not here.
    """
    problems = Problems(str(path))
    data = Templates(environment).put_in(load(path), THE_FILE, problems, 1, skips=runs)
    found = validated(model, data, THE_FILE, problems)
    if found is None or problems.found:
        raise problems.error()
    return found


def names_differ(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check that no two items of a list have the same name."""
    names = [item.name for item in items]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise problem("is taken already; choose another.", number, "name")
    return items


def prefects_own(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Let Prefect read what is in its own form; report the first of its errors."""
    try:
        return adapter.validate_python(value_of(value))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[0]
        at, message = details["loc"], details["msg"].removeprefix("Value error, ").rstrip(".")
        if details["type"] == "missing":
            raise problem(f": {at[-1]!r} is missing; add it.", *at[:-1]) from None
        if details["type"] == "union_tag_invalid":
            raise problem(f"must be one of {details.get('ctx', {})['expected_tags']}.", *at, "type") from None
        if message.startswith("Input should be "):
            must = message.removeprefix("Input should be ").replace("Posture.", "")
            raise problem(f"must be {must}.", *at) from None
        raise problem(f": {message[:1].lower()}{message[1:]}.", *at) from None
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise problem(f": {str(error).rstrip('.')}.") from None
