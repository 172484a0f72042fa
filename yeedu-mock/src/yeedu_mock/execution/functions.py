"""Calls the function that a run's process serves."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

from yeedu_mock.errors import ConflictError

if TYPE_CHECKING:
    from pathlib import Path


async def call_function(folder: Path, payload: Any, timeout_seconds: float) -> dict[str, Any]:
    """Call a function and return its `result` or its `error`.

    Args:
        folder: The folder of the run that serves it.
        payload: Its argument.
        timeout_seconds: How long it may take.

    Raises:
        ConflictError: The run does not serve one yet, or has ended.
        TimeoutError: It took too long.
    """
    call = {"payload": payload, "context": {"request_uuid": str(uuid.uuid4())}}
    try:
        port = int((folder / "port").read_text(encoding="utf-8"))
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(json.dumps(call).encode() + b"\n")
                return json.loads(await reader.readline())
            finally:
                writer.close()
    except TimeoutError:
        raise
    except (ValueError, OSError) as error:
        raise ConflictError("The run serves no function: it has not begun to, or has ended.") from error
