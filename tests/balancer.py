"""Passes each connection on to the next of several servers that takes it.

Usage: balancer.py PORT SERVER_PORT...
"""

import asyncio
import contextlib
import itertools
import sys


async def main(port: int, servers: list[int]) -> None:
    """Serve until a signal ends it."""
    turns = itertools.cycle(servers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for server in itertools.islice(turns, len(servers)):
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", server)
                await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
                return
        writer.close()

    await (await asyncio.start_server(serve, "127.0.0.1", port)).serve_forever()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, until one of the two sides has ended."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    own, *others = map(int, sys.argv[1:])
    asyncio.run(main(own, others))
