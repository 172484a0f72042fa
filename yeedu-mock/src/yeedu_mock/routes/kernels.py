"""The kernel of a notebook run: its state, and the websocket through which cells are sent.

The v1 generation has the same routes as v2, without `run/`.
"""

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from yeedu_mock.control.middleware import DROP_CONNECTION
from yeedu_mock.errors import MockError, NotLoggedInError
from yeedu_mock.execution.kernel import Kernel
from yeedu_mock.execution.kernel_connection import KernelConnection
from yeedu_mock.routes.access import Identifier, TheMock, TheWorkspace, find_run, workspace_of
from yeedu_mock.state.records import Run, WorkspacePermission

router = APIRouter(prefix="/workspace/{workspace_id}/notebook", tags=["kernels"])

NORMAL_CLOSE = 1000


def kernel_status(run: Run, kernel: Kernel) -> dict[str, Any]:
    """Return a kernel's state as every kernel route answers it."""
    return {
        "kernel_info": {
            "kernel_id": run.id,
            "kernel_status": kernel.execution_state,
            "connections": len(kernel.connections),
        }
    }


@router.post("/run/{run_id:identifier}/kernel/startOrGetStatus")
@router.post("/{run_id:identifier}/kernel/startOrGetStatus")
@router.get("/run/{run_id:identifier}/kernel/status")
@router.get("/{run_id:identifier}/kernel/status")
async def start_or_get_status(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Return the kernel's state; a running notebook always has one."""
    run = find_run(mock, workspace, "notebook", run_id)
    status = kernel_status(run, mock.runs.kernel(run))
    if mock.control.switches.kernel_not_ready_answers:
        mock.control.switches.kernel_not_ready_answers -= 1
        status["kernel_info"]["kernel_status"] = "not_started"
    return status


@router.post("/run/{run_id:identifier}/kernel/interrupt")
@router.post("/{run_id:identifier}/kernel/interrupt")
async def interrupt(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Interrupt the running cell."""
    run = find_run(mock, workspace, "notebook", run_id)
    kernel = mock.runs.kernel(run)
    await kernel.interrupt()
    return kernel_status(run, kernel)


@router.post("/run/{run_id:identifier}/kernel/restart")
@router.post("/{run_id:identifier}/kernel/restart")
async def restart(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Restart the kernel; its variables are gone."""
    run = find_run(mock, workspace, "notebook", run_id)
    kernel = mock.runs.kernel(run)
    await kernel.restart()
    return kernel_status(run, kernel)


@router.get("/run/{run_id:identifier}/kernel/ws")
@router.get("/{run_id:identifier}/kernel/ws")
async def websocket_details(
    run_id: Identifier,
    workspace: TheWorkspace,
    mock: TheMock,
    yeedu_session: Annotated[str | None, Query()] = None,
) -> dict[str, Any]:
    """Say that the websocket may be opened."""
    mock.sessions.find(yeedu_session)
    run = find_run(mock, workspace, "notebook", run_id)
    return {"message": "The websocket is ready.", **kernel_status(run, mock.runs.kernel(run))}


@router.websocket("/run/{run_id:identifier}/kernel/ws/yeedu_session/{token:path}")
@router.websocket("/{run_id:identifier}/kernel/ws/yeedu_session/{token:path}")
async def websocket(
    socket: WebSocket, workspace_id: Identifier, run_id: Identifier, token: str, mock: TheMock
) -> None:
    """Carry Jupyter messages to and from the kernel of a run."""
    try:
        session = mock.sessions.find(token)
        workspace = workspace_of(mock, session, workspace_id, WorkspacePermission.RUN)
        kernel = mock.runs.kernel(find_run(mock, workspace, "notebook", run_id))
    except MockError as error:
        # A refused token is a 403 here and not a 401: clients stop retrying on either.
        status = 403 if isinstance(error, NotLoggedInError) else error.status
        await socket.send_denial_response(JSONResponse(error.body(), status_code=status))
        return
    await socket.accept()
    connection = await kernel.connect()
    try:
        await _carry(socket, connection)
    finally:
        kernel.disconnect(connection)


async def _carry(socket: WebSocket, connection: KernelConnection) -> None:
    """Carry messages both ways until either side ends."""
    incoming = asyncio.create_task(_from_client(socket, connection))
    outgoing = asyncio.create_task(_to_client(socket, connection))
    tasks = {incoming, outgoing}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _from_client(socket: WebSocket, connection: KernelConnection) -> None:
    while True:
        event = await socket.receive()
        if event["type"] == "websocket.disconnect":
            return
        await connection.forward(event.get("text") or (event.get("bytes") or b"").decode("utf-8", "replace"))


async def _to_client(socket: WebSocket, connection: KernelConnection) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client may leave at any time
        while (text := await connection.next_message()) is not None:
            if connection.is_to_be_dropped():
                socket.scope[DROP_CONNECTION]()
                return
            await socket.send_text(text)
        await socket.close(NORMAL_CLOSE, "The kernel has ended.")
