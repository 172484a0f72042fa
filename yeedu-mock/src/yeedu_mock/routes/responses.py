"""Responses that several routes share: pages of a list, log files, runs."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import quote

from fastapi import Query, Response
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import BeforeValidator
from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from yeedu_mock.errors import NotFoundError
from yeedu_mock.mock import Mock
from yeedu_mock.state.records import Run

Item = TypeVar("Item")

PageNumber = Annotated[int, Query(alias="pageNumber", ge=1, le=1_000_000)]
PageLimit = Annotated[int, Query(alias="limit", ge=1, le=1000)]
LineCount = Annotated[int | None, Query(ge=1, le=1_000_000)]
ByteCount = Annotated[int | None, Query(ge=1)]


def split_at_commas(value: Any) -> Any:
    """Return the values of a query's key, which clients repeat or separate by commas."""
    values = cast("list[Any]", value if isinstance(value, list) else [value])
    if not all(isinstance(one, str) for one in values):
        return cast("Any", value)
    return [part.strip() for one in values for part in one.split(",") if part.strip()]


Texts = Annotated[list[str] | None, BeforeValidator(split_at_commas), Query()]
Ids = Annotated[list[int] | None, BeforeValidator(split_at_commas), Query()]

READ_BLOCK_BYTES = 64 * 1024

# What cannot be quoted, and what would lead a client that saves under the plain name into other folders.
UNQUOTABLE = re.compile(r"[^ !#-.0-:<>-\[\]-~]")


def one_page(items: Sequence[Item], number: int, limit: int) -> dict[str, Any]:
    """Return one page of a list in the form of every list answer."""
    start = (number - 1) * limit
    return {
        "data": list(items[start : start + limit]),
        "result_set": {
            "total_objects": len(items),
            "total_pages": -(-len(items) // limit),
            "current_page": number,
            "limit": limit,
        },
    }


def found_page(items: Sequence[Item], number: int, limit: int, what: str) -> dict[str, Any]:
    """Return one page of what was found; `what` names it, for example `cluster`.

    Raises:
        NotFoundError: Nothing was found.
    """
    if not items:
        raise NotFoundError(f"No {what} was found.")
    return one_page(items, number, limit)


class GrowingFile(FileResponse):
    """A file, or a range of it, as it was when it was requested: what is written meanwhile is left out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        left, has_ended = 0, False

        async def send_no_more(message: Message) -> None:
            nonlocal left, has_ended
            if message["type"] == "http.response.start":
                left = int(Headers(raw=message["headers"])["content-length"])
            elif has_ended:
                return
            else:
                body = message["body"][:left]
                left -= len(body)
                has_ended = left == 0
                message = {**message, "body": body, "more_body": not has_ended}
            await send(message)

        await super().__call__(scope, receive, send_no_more)


async def log_file(
    mock: Mock, run: Run, stream: str, last_n_lines: int | None, file_size_bytes: int | None
) -> Response:
    """Return a log as text, whole or its end; a run that has not started has an empty log.

    Raises:
        NotFoundError: There is no such log, or switches say that it is missing.
    """
    switches = mock.control.switches
    path = mock.runs.log_path(run, stream)
    is_empty = not size_of(path)
    if stream in switches.logs_missing or (is_empty and switches.empty_log_status == NotFoundError.status):
        raise NotFoundError(f"The run {run.id} has no {stream}.")
    headers = attachment(path.name)
    limits = [limit for limit in (file_size_bytes, switches.log_limit_bytes) if limit is not None]
    if limits or last_n_lines is not None or is_empty or not switches.log_ranges:
        tail = await asyncio.to_thread(read_tail, path, last_n_lines, min(limits, default=None))
        return PlainTextResponse(tail, headers=headers)
    return whole_file(path, headers)


def whole_file(path: Path, headers: dict[str, str] | None = None) -> Response:
    """Return a log, or the range of it that the request asks for."""
    return GrowingFile(path, headers=headers, media_type="text/plain; charset=utf-8", stat_result=path.stat())


def size_of(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def read_tail(
    path: Path, last_n_lines: int | None, file_size_bytes: int | None, end: int | None = None
) -> bytes:
    """Return the last lines, or the last bytes, of a file that may be growing; empty if it does not exist.

    Args:
        path: The file.
        last_n_lines: How many lines; None for any number.
        file_size_bytes: How many bytes; None for any number.
        end: The size at which to stop reading; None for the present size.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2) if end is None else end
            start = max(0, end - file_size_bytes) if file_size_bytes is not None else 0
            if last_n_lines is None:
                file.seek(start)
                return file.read(end - start)
            tail = b""
            position = end
            while position > start and tail.count(b"\n") <= last_n_lines:
                step = min(READ_BLOCK_BYTES, position - start)
                position -= step
                file.seek(position)
                tail = file.read(step) + tail
            return b"".join(tail.splitlines(keepends=True)[-last_n_lines:])
    except FileNotFoundError:
        return b""


def tail_of(content: bytes, last_n_lines: int | None, file_size_bytes: int | None) -> bytes:
    """Return the last lines, or the last bytes, of a text."""
    tail = content if file_size_bytes is None else content[-file_size_bytes:]
    return tail if last_n_lines is None else b"".join(tail.splitlines(keepends=True)[-last_n_lines:])


def attachment(name: str) -> dict[str, str]:
    """Return the header that makes an answer a file; the name may contain anything."""
    plain_name = UNQUOTABLE.sub("_", name)
    disposition = f'attachment; filename="{plain_name}"'
    if plain_name != name:
        disposition += f"; filename*=UTF-8''{quote(name, safe='')}"  # RFC 6266, section 4.3
    return {"Content-Disposition": disposition}


def json_file(content: Any, name: str) -> Response:
    """Return a JSON document as a file."""
    document = to_json(content, inf_nan_mode="null")
    return Response(document, media_type="application/json", headers=attachment(name))
