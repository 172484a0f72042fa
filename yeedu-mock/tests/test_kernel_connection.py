"""The connection between a websocket and a kernel, on a busy machine."""

import asyncio
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zmq.asyncio

from yeedu_mock.control.switches import Switches
from yeedu_mock.execution.kernel import Kernel, new_kernel_folder
from yeedu_mock.execution.limits import Limits


def request() -> str:
    """Return a request; a kernel takes no message twice."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": "s",
        "username": "u",
        "date": "",
        "version": "5.3",
    }
    return json.dumps({"header": header, "content": {"code": "1", "silent": False}})


async def reply_to_a_request_sent_while_another_reply_arrives(kernel: Kernel) -> str:
    connection = await kernel.connect()
    try:
        await asyncio.sleep(0)  # the connection waits for what the kernel says
        time.sleep(0.1)  # the machine is busy while the reply to the greeting arrives
        await connection.forward(request())
        async with asyncio.timeout(60):
            while True:
                message = json.loads(await connection.next_message() or "{}")
                if message["msg_type"] == "execute_reply":
                    return message["content"]["status"]
    finally:
        kernel.disconnect(connection)


def test_a_reply_that_arrives_while_a_request_is_sent_is_not_lost(tmp_path: Path) -> None:
    async def main() -> list[str]:
        context = zmq.asyncio.Context()
        kernel = Kernel(new_kernel_folder(tmp_path), tmp_path, Limits(), context, Switches())
        try:
            await kernel.start()
            return [await reply_to_a_request_sent_while_another_reply_arrives(kernel) for _ in range(5)]
        finally:
            await kernel.shutdown()
            context.destroy(linger=0)

    with ThreadPoolExecutor(1) as pool:  # this thread may have an event loop already: a browser's, for one
        assert pool.submit(lambda: asyncio.run(main())).result() == ["ok"] * 5
