"""An MCP client that starts `yeedu-mcp-server` and calls its tools; runs in the server's own environment.

Each line of input is a call, `{"tool": NAME, "arguments": {...}}`; each line of output is what the tool
answered, as a JSON string. The first line of output is the list of the tools.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main() -> None:
    server = StdioServerParameters(
        command=str(Path(sys.executable).with_name("yeedu-mcp-server")), env=dict(os.environ)
    )
    with Path("mcp-server.log").open("w") as log:
        async with stdio_client(server, errlog=log) as streams, ClientSession(*streams) as session:
            await session.initialize()
            print(json.dumps([tool.name for tool in (await session.list_tools()).tools]), flush=True)
            while line := await asyncio.to_thread(sys.stdin.readline):
                call = json.loads(line)
                answer = await session.call_tool(call["tool"], call["arguments"])
                print(json.dumps("".join(part.text for part in answer.content)), flush=True)


asyncio.run(main())
