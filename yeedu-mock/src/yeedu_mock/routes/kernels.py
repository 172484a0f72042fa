"""The kernel of a notebook run: its state, and the websocket through which cells are sent.

The v1 generation has the same routes as v2, without `run/`.
"""

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from yeedu_mock.control.middleware import DROP_CONNECTION
from yeedu_mock.control.switches import Switches
from yeedu_mock.errors import MockError, NotLoggedInError
from yeedu_mock.execution.kernel import Kernel
from yeedu_mock.execution.kernel_connection import KernelConnection
from yeedu_mock.routes.access import Identifier, TheMock, TheWorkspace, workspace_of
from yeedu_mock.routes.run_responses import find_run
from yeedu_mock.state.enums import WorkspacePermission
from yeedu_mock.state.records import Run

router = APIRouter(prefix="/workspace/{workspace_id}/notebook", tags=["kernels"])


def kernel_status(run: Run, kernel: Kernel) -> dict[str, Any]:
    """Return a kernel's state in the form of every kernel route."""
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
    """Tell the client that the websocket may be opened."""
    mock.sessions.find(yeedu_session)
    run = find_run(mock, workspace, "notebook", run_id)
    answer = {"message": "The websocket is ready.", **kernel_status(run, mock.runs.kernel(run))}
    return {} if mock.control.switches.bare_answers else answer


@router.websocket("/run/{run_id:identifier}/kernel/ws")
@router.websocket("/{run_id:identifier}/kernel/ws")
async def websocket_with_header(
    socket: WebSocket,
    workspace_id: Identifier,
    run_id: Identifier,
    mock: TheMock,
    authorization: Annotated[str, Header()] = "",
) -> None:
    """Carry Jupyter messages for a client whose token is in a header, if a switch allows that."""
    is_allowed = mock.control.switches.websocket_token_in_header
    token = authorization.partition(" ")[2].strip() if is_allowed else ""
    await websocket(socket, workspace_id, run_id, token, mock)


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
        # A refused token is a 403 here, not a 401: clients stop retrying on either.
        status = 403 if isinstance(error, NotLoggedInError) else error.status
        await socket.send_denial_response(JSONResponse(error.body(), status_code=status))
        return
    await socket.accept()
    connection = await kernel.connect()
    switches = mock.control.switches
    try:
        await _carry(socket, connection, switches)
    finally:
        kernel.disconnect(connection)
        if not kernel.connections and not switches.kernel_survives_disconnect:
            await kernel.kill_process()


async def _carry(socket: WebSocket, connection: KernelConnection, switches: Switches) -> None:
    """Carry messages both ways until either side ends."""
    incoming = asyncio.create_task(_from_client(socket, connection))
    outgoing = asyncio.create_task(_to_client(socket, connection, switches))
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


async def _to_client(socket: WebSocket, connection: KernelConnection, switches: Switches) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client may leave at any time
        while (text := await connection.next_message()) is not None:
            if connection.is_to_be_dropped():
                socket.scope[DROP_CONNECTION]()
                return
            if switches.websocket_delay_seconds:
                await asyncio.sleep(switches.websocket_delay_seconds)
            await socket.send_text(text)
        await socket.close(switches.websocket_close_code, "The kernel has ended.")
