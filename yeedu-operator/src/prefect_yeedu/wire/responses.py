"""Reads Yeedu's JSON responses leniently, since their fields may change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from prefect_yeedu.errors import YeeduUnexpectedAnswer

if TYPE_CHECKING:
    import requests

JsonObject = dict[str, Any]


def read_json(response: requests.Response, what: str) -> object:
    """Return an answer's JSON.

    Args:
        response: The answer.
        what: The call that it answers, for the error's text.

    Raises:
        YeeduUnexpectedAnswer: The answer is not JSON.
    """
    try:
        return cast("object", response.json())
    except (ValueError, RecursionError):
        pass  # raised below, without the library's exception, which holds the whole body
    raise YeeduUnexpectedAnswer(
        f"Yeedu answered the call {what} with something that is not JSON "
        f"(status {response.status_code}, {response.headers.get('Content-Type', 'no content type')}); "
        "check that the URL's port is the one of the REST API.",
        status=response.status_code,
        is_from_yeedu=False,
    )


def read_object(response: requests.Response, what: str) -> JsonObject:
    """Return an answer's JSON object.

    Raises:
        YeeduUnexpectedAnswer: The answer is something else.
    """
    value = read_json(response, what)
    if isinstance(value, dict):
        return cast("JsonObject", value)
    raise YeeduUnexpectedAnswer(
        f"Yeedu answered the call {what} without a JSON object.",
        status=response.status_code,
        is_from_yeedu=False,
    )


def text_of(answer: JsonObject, key: str) -> str | None:
    """Return a text field, or None if it is absent, empty or of another type."""
    value = answer.get(key)
    return value if isinstance(value, str) and value else None


def number_of(answer: JsonObject, key: str) -> int | None:
    """Return a positive integer field, which may also be given as text, else None."""
    value = answer.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < 19 else 0
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value > 0 else None


def object_of(answer: JsonObject, key: str) -> JsonObject:
    """Return an object field; empty if it is absent or of another type."""
    value = answer.get(key)
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def objects_of(answer: JsonObject, key: str) -> list[JsonObject]:
    """Return the objects of a list field; empty if it is absent or of another type."""
    value = answer.get(key)
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("JsonObject", item) for item in items if isinstance(item, dict)]
