"""The outputs of a cell are kept in order, in time that grows with them, and within limits."""

import time

import pytest

from prefect_yeedu.models import Output
from prefect_yeedu.wire.cell_outputs import OutputCollector, OutputLimits
from prefect_yeedu.wire.kernel_protocol import MAX_REMEMBERED_MESSAGES, Execution, KernelMessage

LIMITS = OutputLimits(max_characters=10, max_outputs=3, sentence="Cut.")
NOTE = Output("stream", "stderr", {"text/plain": "\nCut.\n"})


def stream(text: str, identifier: str = "") -> KernelMessage:
    return KernelMessage("stream", "cell", {"name": "stdout", "text": text}, identifier)


def test_the_time_to_join_a_stream_grows_with_the_stream() -> None:
    """Four times as long for four times as much; were the pieces joined one by one, 16 times at least."""

    def cpu_seconds(messages: int) -> float:
        begun_at = time.process_time()
        execution = Execution("cell", OutputCollector(OutputLimits(max_characters=100_000_000)))
        for number in range(messages):
            execution.receive(stream("x" * 500, str(number)))
        assert len(execution.outputs[0].text) == messages * 500
        return time.process_time() - begun_at

    small, large = (min(cpu_seconds(messages) for _ in range(3)) for messages in (5_000, 20_000))
    assert large < 9 * small  # joined one by one it is more than 20 times


def test_a_stream_is_cut_at_the_limit_with_one_sentence() -> None:
    collector = OutputCollector(LIMITS)
    for _ in range(5):
        collector.add_stream("stdout", "1234")
    assert collector.outputs == (Output("stream", "stdout", {"text/plain": "1234123412"}), NOTE)


def test_an_output_that_is_too_much_is_left_out_and_an_error_is_not() -> None:
    collector = OutputCollector(LIMITS)
    collector.add(Output("display_data", "", {"image/png": "x" * 11}))
    collector.add(Output("display_data", "", {"text/plain": "y"}))
    error = Output("error", "E", {"text/plain": "a long traceback"}, evalue="v")
    collector.add(error)
    assert collector.outputs == (NOTE, error)


def test_outputs_are_counted() -> None:
    collector = OutputCollector(LIMITS)
    shown = Output("display_data", "", {"text/plain": "y"})
    for _ in range(1000):
        collector.add(shown)
    assert collector.outputs == (shown, shown, shown, NOTE)


def test_a_cleared_output_makes_room() -> None:
    collector = OutputCollector(LIMITS)
    for _ in range(100):
        collector.add_stream("stdout", "1234567")
        collector.clear()
    collector.add_stream("stdout", "last")
    assert collector.outputs == (Output("stream", "stdout", {"text/plain": "last"}),)


def test_an_update_that_is_too_much_leaves_what_was_there() -> None:
    collector = OutputCollector(LIMITS)
    first = Output("execute_result", "", {"text/plain": "1"}, execution_count=1)
    collector.add(first, "bar")
    assert collector.update(Output("display_data", "", {"text/plain": "22"}), "bar")
    assert collector.outputs[0] == Output("execute_result", "", {"text/plain": "22"}, execution_count=1)
    assert collector.update(Output("display_data", "", {"text/plain": "x" * 11}), "bar")
    assert [output.text for output in collector.outputs] == ["22", "\nCut.\n"]
    assert not collector.update(first, None)


@pytest.mark.parametrize("messages", [MAX_REMEMBERED_MESSAGES * 3])
def test_ids_of_messages_are_not_remembered_for_ever(messages: int) -> None:
    execution = Execution("cell")
    for number in range(messages):
        execution.receive(stream("a", str(number)))
        execution.receive(stream("a", str(number)))
    assert execution.outputs[0].text == "a" * messages
    assert len(execution._taken) <= MAX_REMEMBERED_MESSAGES  # pyright: ignore[reportPrivateUsage]
