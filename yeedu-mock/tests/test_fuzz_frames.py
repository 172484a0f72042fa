"""Whatever frame a client sends to a kernel, its connection, the kernel and the mock go on."""

import json

import requests
import websocket
from generated_requests import ODD, STEADY, TEXT
from hypothesis import given, settings
from hypothesis import strategies as st

HEADERS = st.fixed_dictionaries(
    {},
    optional={
        # Not shutdown_request, which ends a kernel as it should, nor what waits for an answer to `input()`.
        "msg_type": st.sampled_from(["execute_request", "complete_request", "comm_open", "nothing"]) | ODD,
        "msg_id": TEXT | ODD,
        "session": TEXT | ODD,
        "date": st.sampled_from(["2026-01-01 00:00:00", "2026-99-99T99:99:99Z"]) | ODD,
        "version": st.just("5.3") | ODD,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"header": st.one_of(HEADERS, HEADERS, HEADERS, ODD)},
    optional={
        "parent_header": HEADERS | ODD,
        "metadata": st.dictionaries(TEXT, ODD, max_size=2) | ODD,
        "content": st.dictionaries(st.sampled_from(["code", "data", "comm_id"]) | TEXT, ODD, max_size=2)
        | ODD,
        "channel": st.sampled_from(["shell", "control", "stdin", "iopub"]) | ODD,
        "buffers": ODD,
    },
)
FRAMES = st.one_of(
    *[MESSAGES.map(json.dumps)] * 3,
    ODD.map(json.dumps),
    TEXT,
    st.binary(max_size=20),
    st.sampled_from(["[" * 100_000, '{"header":' * 50_000]),
)


def test_no_frame_ends_the_connection_the_kernel_or_the_mock(client, notebook_run, anonymous, yeedu_mock):
    kernel = client.open_kernel(notebook_run)
    kernel.finish(kernel.send("pass"))

    @settings(STEADY, max_examples=40)
    @given(st.lists(FRAMES, min_size=1, max_size=4))
    def fuzz(frames):
        for frame in frames:
            opcode = websocket.ABNF.OPCODE_BINARY if isinstance(frame, bytes) else websocket.ABNF.OPCODE_TEXT
            kernel.socket.send(frame, opcode)
        request = kernel.send("print('still here')")
        kernel.finish(request)
        assert kernel.of(request, "execute_reply")[0]["status"] == "ok"

    fuzz()
    assert requests.get(yeedu_mock.health_url, timeout=90).status_code == 200
    assert client.status("notebook", notebook_run) == "RUNNING"
    answers = requests.get(f"{yeedu_mock.url}/_control/journal", timeout=90).json()
    assert not [answer for answer in answers if (answer["status"] or 0) >= 500]
