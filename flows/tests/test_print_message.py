"""The flow print-message."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from print_message import print_message

FLOWS = Path(__file__).parents[1]


def test_the_message_is_in_the_log_and_in_the_runs_name(read_log: Callable[..., list[str]]) -> None:
    state = print_message("Grüße {from} a test", return_state=True)
    assert state.is_completed()
    assert "Grüße {from} a test" in read_log(state)
    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(state.state_details.flow_run_id).name == "print: Grüße {from} a test"


@pytest.mark.parametrize("name", ["print_message.py", "verify_file_names.py"])
def test_a_flow_file_runs_as_a_script_from_any_folder(run_python: Callable[..., Any], name: str) -> None:
    process = run_python(str(FLOWS / name))
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "Finished in state Completed()" in output
