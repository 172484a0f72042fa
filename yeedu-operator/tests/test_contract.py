"""The contract suite tells the truth: a switch of the mock changes the row that it is about, and no other."""

from pathlib import Path
from types import ModuleType
from typing import Any

import contract_yeedu
import pytest
from contract_yeedu import Yeedu, settings

from contract.assumptions_of_runs import ASSUMPTIONS
from contract.findings import Verdict
from contract.probes import job_run, notebook_run, started_run
from yeedu_mock.control.faults import Fault
from yeedu_mock.control.switches import Switches
from yeedu_mock.testing import running_mock

YES, NO, NOT_SEEN = Verdict.YES, Verdict.NO, Verdict.NOT_SEEN
OF_RUNS = [key for key in ASSUMPTIONS if key.startswith(("submit", "stop", "nb-", "kernel", "cell", "kill"))]
OF_RUNS += ["token-in-path", "token-in-header", "message-once", "close-code"]
# As the mock is, where its switches stand as they do by default.
USUALLY = {"other-api": NOT_SEEN, "token-in-header": NO, "kernel-keeps": NO}


fresh, yeedu = contract_yeedu.fresh, contract_yeedu.yeedu


def usually(*, runs: bool) -> dict[str, Verdict]:
    verdicts = {key: USUALLY.get(key, YES) for key in ASSUMPTIONS}
    return verdicts if runs else verdicts | dict.fromkeys(OF_RUNS, NOT_SEEN)


def hides(name: str, **others: Verdict) -> Any:
    key = f"run-{name.replace('_', '-')}"
    return pytest.param({"run_fields_hidden": [name]}, {key: NO, **others}, id=f"without-{name}")


OF_READING: list[Any] = [
    pytest.param({}, {}, id="default"),
    ({"select_again": True}, {"select-once": NO}),
    ({"tenant_required": False}, {"tenant-first": NO}),
    ({"expired_status": 440}, {"refused-401": NO}),
    ({"bare_answers": True}, {"select-answer": NO}),
    hides("conf"),
    hides("arguments"),
    hides("created_at", **{"time-zone": NOT_SEEN}),
    hides("created_by"),
    hides("cluster_id"),
    hides("application_id"),
    hides("exit_code"),
    hides("start_time"),
    hides("end_time"),
    hides("execution_time_sec"),
    hides("is_background"),
    hides("job_conf"),
    hides("workspace_id"),
    ({"list_order": "oldest_first"}, {"list-order": NO}),
    ({"empty_list_status": 404}, {"list-empty": NO}),
    ({"not_found_status": 410}, {"unknown-run": NO, "unknown-definition": NO}),
    ({"log_ranges": False}, {"log-range": NO, "log-end": NOT_SEEN}),
    ({"logs_missing": ["stderr"]}, {"log-streams": NO, "log-empty": NOT_SEEN}),
    ({"empty_log_status": 404}, {"log-empty": NO}),
    ({"requests_per_second": 5}, {"unlimited": NO}),
    ({"generation": "v2"}, {"older-api": NO, "other-api": YES}),
    ({"generation": "v2", "unknown_route_status": 405}, {"older-api": NO, "other-api": NO}),
]
OF_JOBS: list[Any] = [
    ({"submission_seconds": 0.5}, {"submit-prompt": NO}, (job_run, "PROMPT_SECONDS", 0.4)),
    ({"replica_lag_seconds": 2}, {"submit-read": NO, "submit-listed": NO}, None),
    ({"run_fields_hidden": ["conf"]}, {"run-conf": NO, "submit-conf": NO}, None),
    ({"stop_delay_seconds": 1.5}, {"stop-prompt": NO}, (started_run, "STOP_BUDGET_SECONDS", 1.0)),
    (
        {"stopped_job_status": "KILLED", "idempotent_stop": True},
        {"stop-state": NO, "stop-again": NO},
        None,
    ),
]
OF_NOTEBOOKS: list[Any] = [
    # By default it is now this and now that which comes first, as it is with Jupyter.
    pytest.param({"websocket_order": "reply_first"}, {}, id="default"),
    pytest.param(
        {
            "bare_answers": True,
            "idempotent_stop": True,
            "kernel_not_ready_answers": 2,
            "stopped_notebook_status": "DONE",
            "websocket_buffers": True,
            "websocket_close_code": 1011,
            "websocket_duplicates": True,
            "websocket_order": "idle_first",
            "websocket_token_in_header": True,
        },
        {
            **dict.fromkeys(("select-answer", "kernel-answer", "stop-again", "kill-again"), NO),
            **dict.fromkeys(("kernel-ready", "kill-state", "message-once", "cell-order", "close-code"), NO),
            **dict.fromkeys(("kernel-keeps", "token-in-header"), YES),
        },
        id="all-others",
    ),
    pytest.param(
        {"kernel_survives_disconnect": False, "websocket_order": "reply_first"},
        {
            "kernel-stays": NO,
            **dict.fromkeys(("kernel-keeps", "kill", "kill-prompt", "kill-state", "close-code"), NOT_SEEN),
        },
        id="kernel-goes",
    ),
]
# Switches that have a test of their own below, or in test_contract_command.py.
ELSEWHERE = {"coinciding_ids", "generation", "gateway_status", "websocket_swallow"}
UNSEEN = {
    "edit_status": "it changes no job",
    **dict.fromkeys(("submission_shows_run", "accepts_abandoned"), "it waits for the answer"),
    **dict.fromkeys(
        ("stopped_cluster", "cluster_start_seconds", "lost_cluster_status"), "it stops no cluster"
    ),
    **dict.fromkeys(("max_concurrency", "refusal_status"), "it starts one run at a time"),
    **dict.fromkeys(("start_delay_seconds", "start_by_hand"), "it waits for the start, however long"),
    "dead_kernel_status": "it kills no kernel",
    "log_limit_bytes": "it does not know how long a log was",
    "gateway_page": "no page is read",
    **dict.fromkeys(("websocket_drop_after_messages", "websocket_drops"), "weather, not a habit"),
    **dict.fromkeys(("websocket_delay_seconds", "websocket_lose_every"), "weather, not a habit"),
    **dict.fromkeys(("connections_to_drop", "connection_end"), "weather, not a habit"),
}


def test_every_switch_changes_a_row_or_says_why_it_cannot() -> None:
    tried = [getattr(one, "values", one)[0] for one in (*OF_READING, *OF_JOBS, *OF_NOTEBOOKS)]
    seen = {name for switches in tried for name in switches} | ELSEWHERE
    assert seen | UNSEEN.keys() == Switches.model_fields.keys()
    assert seen & UNSEEN.keys() == set()


@pytest.mark.parametrize(("switches", "rows"), OF_READING)
def test_a_switch_changes_its_row_and_no_other(
    yeedu: Yeedu, switches: dict[str, Any], rows: dict[str, Verdict]
) -> None:
    yeedu.mock.switch(**switches)
    assert yeedu.verdicts() == usually(runs=False) | rows


def test_a_server_of_the_older_api_is_asked_in_its_own_way(yeedu: Yeedu) -> None:
    yeedu.mock.switch(generation="v1")
    only_newer = ("start-time", "end-time", "exit-code", "application-id", "is-background", "job-conf")
    assert yeedu.verdicts() == usually(runs=False) | {
        "newer-api": NO,
        "other-api": YES,
        "list-empty": NO,
        **dict.fromkeys(("notebook-cells", "workflow-errors"), NOT_SEEN),
        **{f"run-{name}": NO for name in only_newer},
    }


def test_ids_that_jobs_and_notebooks_share_are_seen(tmp_path: Path) -> None:
    with running_mock(settings(tmp_path, switches={"coinciding_ids": True})) as mock:
        assert Yeedu(mock).verdicts()["ids-apart"] is NO


def test_a_workspace_in_which_nothing_ran_shows_little_and_no_untruth(tmp_path: Path) -> None:
    with running_mock(settings(tmp_path)) as mock:
        verdicts = Yeedu(mock, has_runs=False).verdicts()
    assert [key for key, verdict in verdicts.items() if verdict is NO] == []
    assert verdicts["list-order"] is verdicts["run-conf"] is verdicts["log"] is NOT_SEEN


@pytest.mark.parametrize(
    ("path", "answer", "row"),
    [
        ("/healthCheck$", {"status": 503}, "health"),
        ("/login/auth_type$", {"status": 404}, "auth-type"),
        ("/user/info$", {"status": 500}, "user-info"),
        ("/logout$", {"status": 500}, "logout"),
        ("/run/2000000007$", {"status": 404, "page": "html"}, "error-code"),
        ("/workflow/errors$", {"status": 404}, "workflow-errors"),
    ],
)
def test_what_no_switch_changes_is_seen_as_well(
    yeedu: Yeedu, path: str, answer: dict[str, Any], row: str
) -> None:
    yeedu.mock.mock.control.faults.add(Fault(path=path, times=None, **answer))
    assert yeedu.verdicts()[row] is NO


def test_without_permission_nothing_is_run(yeedu: Yeedu) -> None:
    before = yeedu.runs()
    yeedu.verdicts()
    assert yeedu.runs() == before


@pytest.mark.parametrize(("switches", "rows", "retries"), OF_JOBS)
def test_a_switch_of_jobs_changes_its_row(
    yeedu: Yeedu,
    switches: dict[str, Any],
    rows: dict[str, Verdict],
    retries: tuple[ModuleType, str, float] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if retries:
        monkeypatch.setattr(*retries)
    yeedu.mock.switch(**switches)
    yeedu.wait_until_all_are_listed()
    verdicts = yeedu.verdicts(CONTRACT_RUNS="1", YEEDU_NOTEBOOK_URL="")
    unseen = [key for key in OF_RUNS if not key.startswith(("submit", "stop"))]
    assert verdicts == usually(runs=True) | dict.fromkeys(unseen, NOT_SEEN) | rows
    assert yeedu.unfinished() == []


@pytest.mark.parametrize(("switches", "rows"), OF_NOTEBOOKS)
def test_a_switch_of_notebooks_changes_its_row(
    yeedu: Yeedu, switches: dict[str, Any], rows: dict[str, Verdict]
) -> None:
    yeedu.mock.switch(**switches)
    assert yeedu.verdicts(CONTRACT_RUNS="1") == usually(runs=True) | rows
    assert yeedu.unfinished() == []


def test_a_reply_that_is_lost_is_not_waited_for_in_vain(
    yeedu: Yeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_run, "CELL_SECONDS", 1.0)
    yeedu.mock.switch(websocket_swallow=["execute_reply"])
    verdicts = yeedu.verdicts(CONTRACT_RUNS="1")
    assert verdicts["cell-ends"] is NO
    assert verdicts["cell-order"] is NOT_SEEN
    assert verdicts["kill"] is YES
    assert yeedu.unfinished() == []
