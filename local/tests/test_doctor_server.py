"""`make doctor` on a server and runs with something wrong: on the platform's own server, with SQLite."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from uuid import uuid4

import pytest

from local.tests.patients import assert_told, checkout, findings, notes, patient, serving, wrongs
from local.tests.served import EVERY_DAY, JSON, Served, serving_platform
from tests.platforms import free_port, wait_for

OF_A_SERVER = (
    *("server", "server-services", "versions", "schedules", "late-runs", "stuck-runs"),
    *("pools", "queues", "worker-versions", "database", "retention"),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving_platform(tmp_path_factory) as platform:
        yield platform


def test_server_that_is_well_has_nothing_wrong(served: Served) -> None:
    site = served.site()
    found = {check: findings(site, check) for check in OF_A_SERVER}
    assert [one for told in found.values() for one in told if one.level != "ok"] == []
    assert [check for check, told in found.items() if not told] == []


def test_what_lies_beyond_the_first_page_is_seen(served: Served) -> None:
    pool = served.pool()
    for number in range(205):
        served.api.post(f"work_pools/{pool}/queues", {"name": f"queue-{number:03}"})
        served.api.post(f"work_pools/{pool}/workers/heartbeat", {"name": f"worker-{number:03}"})
    api = served.site().api
    queues = api.everything(f"/work_pools/{pool}/queues/filter")
    workers = api.everything(f"/work_pools/{pool}/workers/filter")
    assert {queue["name"] for queue in queues} == {
        "default",
        *(f"queue-{number:03}" for number in range(205)),
    }
    assert {worker["name"] for worker in workers} == {f"worker-{number:03}" for number in range(205)}


def test_login_that_the_server_refuses_is_wrong(served: Served) -> None:
    told = wrongs(served.site(PREFECT_API_AUTH_STRING="admin:another-one"), "server")
    assert_told(told, "rejects the login", "PREFECT_API_AUTH_STRING")
    assert "another-one" not in told[0]


def test_server_that_is_gone_while_its_platform_is_up_is_wrong(tmp_path: Path) -> None:
    values = {"PREFECT_PORT": str(free_port())}
    assert_told(wrongs(patient(checkout(tmp_path), values, is_process_form=True), "server"), "`make up`")
    assert wrongs(patient(tmp_path, values), "server") == []


def test_service_that_stands_still_is_wrong_and_patches_left_out_are_worth_a_note(tmp_path: Path) -> None:
    told = {"message": "the scheduler has made no run for 400 s", "patches_left_out": "patches left out: x"}

    class Page(BaseHTTPRequestHandler):
        """Answers as server/health.py does when all is not well."""

        def do_GET(self) -> None:
            content = json.dumps(told).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with serving(Page) as port:
        site = patient(checkout(tmp_path), {"PREFECT_PORT": str(port)})
        assert_told(
            wrongs(site, "server-services"), "has made no run for 400 s", "docker compose logs server"
        )
        assert_told(notes(site, "patches"), "patches left out: x", "`make up`")


def test_server_of_another_prefect_is_wrong(served: Served, tmp_path: Path) -> None:
    site = served.site()
    site.root = checkout(tmp_path)
    lock = tmp_path / "requirements" / "server.txt"
    lock.write_text(lock.read_text().replace("prefect==3", "prefect==4"))
    assert_told(wrongs(site, "versions"), "the server has Prefect 3", "made for 4", "`make up`")


def test_pool_with_a_schedule_and_without_a_worker_is_wrong(served: Served) -> None:
    pool = served.pool()
    deployment = served.deployment(pool, EVERY_DAY)
    assert_told(served.told("pools", pool), "no worker polls", "attach.sh run --server ADDRESS --pool")
    served.api.post(f"work_pools/{pool}/workers/heartbeat", {"name": "one"})
    assert served.told("pools", pool) == []
    served.api.delete(f"deployments/{deployment}")


def test_late_run_is_wrong_and_so_is_the_paused_pool_that_holds_it(served: Served) -> None:
    pool = served.pool(is_paused=True)
    served.api.post(f"work_pools/{pool}/workers/heartbeat", {"name": "one"})
    run = served.run(served.deployment(pool), "SCHEDULED", "Late")
    assert_told(wrongs(served.site(), "late-runs"), "1 runs are late, the first by 60 min", "docs/pools.md")
    assert_told(served.told("pools", pool), "is paused, and 1 runs wait", f"prefect work-pool resume {pool}")
    served.api.delete(f"flow_runs/{run['id']}")
    assert served.told("pools", pool) == wrongs(served.site(), "late-runs") == []


def test_pool_of_others_on_another_server_is_theirs(served: Served) -> None:
    pool = served.pool(concurrency_limit=0)
    other = {"PREFECT_API_URL": served.api.url}
    assert served.told("pools", pool, **other, RESCUE_WORK_POOLS=f"another,{pool}")
    assert served.told("pools", pool, **other, RESCUE_WORK_POOLS="another") == []
    served.api.delete(f"work_pools/{pool}")


def test_pool_with_the_limit_0_is_wrong(served: Served) -> None:
    pool = served.pool(concurrency_limit=0)
    assert_told(served.told("pools", pool), "limit 0", f"clear-concurrency-limit {pool}")
    served.api.delete(f"work_pools/{pool}")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"is_paused": True}, ["is paused, and 1 runs wait", "prefect work-queue resume urgent --pool"]),
        ({"concurrency_limit": 0}, ["limit 0", "clear-concurrency-limit urgent"]),
        ({}, ["nobody polls the queue urgent", "WORKER_QUEUES"]),
    ],
)
def test_queue_that_lets_no_run_go_is_wrong(served: Served, fields: JSON, words: list[str]) -> None:
    pool = served.pool()
    served.api.post(f"work_pools/{pool}/queues", {"name": "urgent", **fields})
    assert served.told("queues", pool) == []
    run = served.run(served.deployment(pool, queue="urgent"), "SCHEDULED")
    assert_told(served.told("queues", pool), *words)
    served.api.delete(f"flow_runs/{run['id']}")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("PENDING", "is Pending for 60 min"),
        ("CANCELLING", "is Cancelling for 60 min"),
        ("RUNNING", "has sent no heartbeat for 60 min"),
    ],
)
def test_stuck_run_is_wrong(served: Served, state: str, words: str) -> None:
    run = served.run(served.deployment(served.pool()), state)
    assert_told(served.told("stuck-runs", run["name"]), words, f"/runs/flow-run/{run['id']}", "`rescue`")
    assert (
        served.told("stuck-runs", run["name"], RESCUE_PENDING_SECONDS="9999", RESCUE_HEARTBEAT_SECONDS="9999")
        == []
    )
    served.api.delete(f"flow_runs/{run['id']}")


def test_running_run_that_beats_is_not_stuck(served: Served) -> None:
    run = served.run(served.deployment(served.pool()), "RUNNING")
    beat = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run['id']}"},
    }
    assert served.api.ask("POST", "events", [beat]).ok
    assert_eventually(lambda: served.told("stuck-runs", run["name"]) == [])
    served.api.delete(f"flow_runs/{run['id']}")


def assert_eventually(look: Callable[[], object]) -> None:
    wait_for("event that the server has taken", look, 60, 0.2)


def test_own_worker_that_stopped_is_wrong_and_that_nobody_polls(served: Served) -> None:
    pool = served.pool()
    served.api.post(f"work_pools/{pool}/workers/heartbeat", {"name": "linux-worker"})
    assert served.told("workers", pool) == []
    served.sql("UPDATE worker SET last_heartbeat_time = ?", "2020-01-01 00:00:00.000000")
    assert_told(served.told("workers", pool), "linux-worker", "was last heard of")
    assert_told(served.told("workers", "no worker polls"), "so no run starts", "`make up`")


def test_worker_with_another_prefect_is_wrong(served: Served) -> None:
    pool, name = served.pool(), f"attached-{uuid4().hex[:8]}"
    served.api.post(f"work_pools/{pool}/workers/heartbeat", {"name": name})
    started = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.worker.started",
        "resource": {
            "prefect.resource.id": f"prefect.worker.process.{name}",
            "prefect.resource.name": name,
            "prefect.version": "3.1.0",
        },
        "related": [
            {
                "prefect.resource.id": f"prefect.work-pool.{uuid4()}",
                "prefect.resource.role": "work-pool",
                "prefect.resource.name": pool,
            }
        ],
    }
    assert served.api.ask("POST", "events", [started]).ok
    assert_eventually(lambda: served.told("worker-versions", name))
    assert_told(
        served.told("worker-versions", name), "has Prefect 3.1.0, the server 3", "update its checkout"
    )
    served.api.delete(f"work_pools/{pool}/workers/{name}")


def test_events_that_nobody_clears_away_are_wrong(served: Served) -> None:
    assert wrongs(served.site(), "retention") == []
    served.sql(
        "UPDATE events SET occurred = '2026-01-01 00:00:00.000000' WHERE id = (SELECT min(id) FROM events)"
    )
    assert_told(wrongs(served.site(), "retention"), "events of", "EVENT_RETENTION_SECONDS says 7 d")
    started = served.site().state / "processes" / "server.json"
    started.parent.mkdir()
    started.write_text("{}")  # which says when
    assert wrongs(served.site(), "retention") == []
    assert_told(notes(served.site(), "retention"), "events of", "within a day of being up")
    started.unlink()
    assert wrongs(served.site(PREFECT_PORT=str(free_port())), "retention") == []
    served.sql("DELETE FROM events WHERE occurred < '2026-01-02'")


def test_rescue_that_does_not_run_is_wrong(served: Served) -> None:
    assert_told(wrongs(served.site(), "rescue"), "does not report its status", "`make up`")


def test_database_that_is_damaged_is_wrong(tmp_path: Path) -> None:
    file = checkout(tmp_path) / ".local" / "server" / "prefect.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database" * 1000)
    assert_told(
        wrongs(patient(tmp_path, {}, is_process_form=True), "database"), "cannot be read", "make restore"
    )
