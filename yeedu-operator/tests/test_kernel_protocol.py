import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_yeedu.models import Output
from prefect_yeedu.wire.kernel_protocol import Execution, KernelMessage, execute_request, parse_message, plain


def message(kind: str, **content: Any) -> KernelMessage:
    return KernelMessage(kind, "cell", content)


def finished_by(*messages: KernelMessage) -> Execution:
    execution = Execution("cell")
    for one in messages:
        execution.receive(one)
    return execution


REPLY = message("execute_reply", status="ok", execution_count=1)
IDLE = message("status", execution_state="idle")


@pytest.mark.parametrize("order", [(REPLY, IDLE), (IDLE, REPLY)])
def test_a_cell_is_finished_on_reply_and_idle_in_either_order(order: tuple[KernelMessage, ...]) -> None:
    execution = finished_by(message("status", execution_state="busy"), order[0])
    assert not execution.is_finished
    execution.receive(order[1])
    assert execution.is_finished
    assert (execution.status, execution.execution_count) == ("ok", 1)


def test_pieces_of_a_stream_are_joined_and_all_kept() -> None:
    execution = finished_by(
        message("stream", name="stdout", text="a1\n"),
        message("stream", name="stdout", text="b1\n"),
        message("stream", name="stderr", text="e\n"),
        message("stream", name="stdout", text="c1\n"),
    )
    assert [(output.name, output.text) for output in execution.outputs] == [
        ("stdout", "a1\nb1\n"),
        ("stderr", "e\n"),
        ("stdout", "c1\n"),
    ]


def test_a_message_that_is_sent_twice_counts_once() -> None:
    piece = KernelMessage("stream", "cell", {"name": "stdout", "text": "a\n"}, "m1")
    same_text = KernelMessage("stream", "cell", {"name": "stdout", "text": "a\n"}, "m2")
    execution = finished_by(piece, piece, same_text)
    assert execution.outputs[0].text == "a\na\n"


def test_every_kind_of_output_is_kept() -> None:
    execution = finished_by(
        message("display_data", data={"text/html": ["<b>", "x</b>"]}, metadata={}),
        message("execute_result", data={"text/plain": "45"}, execution_count=2),
        message("display_data", data={"image/png": "aGk=", "application/json": {"a": 1}}),
        message("error", ename="E", evalue="v", traceback=["\x1b[31mE\x1b[0m: v"]),
    )
    assert [output.data for output in execution.outputs] == [
        {"text/html": "<b>x</b>"},
        {"text/plain": "45"},
        {"image/png": "aGk=", "application/json": '{"a": 1}'},
        {"text/plain": "E: v"},
    ]


def test_outputs_can_be_cleared_and_updated() -> None:
    execution = finished_by(
        message("stream", name="stdout", text="old"),
        message("clear_output", wait=True),
        message("display_data", data={"text/plain": "1"}, transient={"display_id": "bar"}),
        message("update_display_data", data={"text/plain": "2"}, transient={"display_id": "bar"}),
        message("update_display_data", data={"text/plain": "3"}, transient={"display_id": "unknown"}),
    )
    assert execution.outputs == (Output("display_data", "", {"text/plain": "2"}),)
    execution.receive(message("clear_output"))
    assert execution.outputs == ()


def test_the_first_reply_counts() -> None:
    execution = finished_by(REPLY, message("execute_reply", status="aborted"))
    assert execution.status == "ok"


def test_a_request_carries_its_id_and_the_fields_jupyter_asks_for() -> None:
    request = json.loads(execute_request("1+1", message_id="cell", session_id="s"))
    assert request["header"]["msg_id"] == "cell"
    assert request["header"]["msg_type"] == "execute_request"
    assert request["channel"] == "shell"
    assert request["content"] == {
        "code": "1+1",
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"msg_type": 5}', "{", '"x"'])
def test_what_is_not_a_message_is_told_apart(text: str) -> None:
    assert parse_message(text) is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(
    [
        *("status", "execute_input", "stream", "display_data", "execute_result", "update_display_data"),
        *("clear_output", "error", "execute_reply", "comm_open", "input_request"),
    ]
)
KEYS = [
    "text",
    "name",
    "data",
    "transient",
    "execution_state",
    "status",
    "execution_count",
    "ename",
    "evalue",
]
CONTENTS = st.dictionaries(st.sampled_from([*KEYS, "traceback", "wait"]), JSON_VALUES)


# A thread of another test may draw a random number while hypothesis generates; it takes that for ours.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@given(st.lists(st.tuples(KINDS, CONTENTS), max_size=8))
def test_no_message_breaks_an_execution(messages: list[tuple[str, dict[str, Any]]]) -> None:
    execution = Execution("cell")
    for kind, content in messages:
        text = json.dumps({"msg_type": kind, "parent_header": {"msg_id": "cell"}, "content": content})
        parsed = parse_message(text)
        assert parsed is not None
        execution.receive(parsed)
    assert isinstance(execution.is_finished, bool)
    json.dumps([output.data for output in execution.outputs])


def test_terminal_colours_are_taken_out() -> None:
    assert plain("\x1b[0;31mZeroDivisionError\x1b[0m") == "ZeroDivisionError"
