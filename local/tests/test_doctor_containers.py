"""`make doctor` on containers with something wrong: on a real engine, in a project of the test's own."""

import subprocess
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from local.containers.engine import Engine
from local.doctor import database
from local.doctor import site as site_module
from local.doctor.bundle import write_bundle
from local.doctor.run import masker_of
from local.doctor.site import Site
from local.tests.patients import AN_ENGINE, assert_told, checkout, container, findings, notes, patient, wrongs
from tests.platforms import free_port, wait_for

IMAGE = "postgres:17"  # which the platform has anyway
SQL = """
CREATE TABLE flow_run (end_time timestamptz, state_type text);
CREATE TABLE events (occurred timestamptz);
CREATE TABLE log (message text);
INSERT INTO events VALUES (now() - interval '30 days');
INSERT INTO log SELECT 'x' FROM generate_series(1, 150000);
DELETE FROM log WHERE ctid > '(5,1)';
"""
CANARY = "canary-of-a-volume"


def docker(*arguments: str, check: bool = True) -> str:
    return subprocess.run(["docker", *arguments], check=check, capture_output=True, text=True).stdout.strip()


def start(project: str, service: str, *options: str, command: tuple[str, ...]) -> None:
    labels = {
        "project": project,
        "service": service,
        "oneoff": "False",
        "project.working_dir": str(Path(__file__).parent),  # which is no checkout of that name
    }
    given = [f"--label=com.docker.compose.{name}={value}" for name, value in labels.items()]
    docker("run", "--detach", "--network=none", *given, *options, IMAGE, *command)


@pytest.fixture(scope="module")
def project() -> Iterator[str]:
    name = f"yeedu-prefect-doctor-{free_port()}"
    own = (
        "--env=POSTGRES_USER=prefect",
        "--env=POSTGRES_HOST_AUTH_METHOD=trust",
        "--tmpfs=/var/lib/postgresql/data",
    )
    few = ("max_connections=4", "superuser_reserved_connections=0", "autovacuum=off", "fsync=off")
    sick = (
        "--health-cmd=echo the moon cannot be reached; exit 1",
        "--health-interval=500ms",
        "--health-retries=1",
    )
    secret = f"mkdir -p /run/platform/deployer; printf {CANARY} >/run/platform/deployer/git-token"
    try:
        start(name, "secrets", command=("sh", "-c", secret))
        start(name, "postgres", *own, command=("postgres", *(f"-c{one}" for one in few)))
        start(name, "rescue", "--restart=always", command=("false",))
        start(name, "git-server", *sick, command=("sleep", "3000"))
        start(name, "yeedu-mock", "--memory=16m", command=("tail", "/dev/zero"))
        start(name, "server", command=("sleep", "3000"))
        start(name, "worker", command=("sh", "-c", f"echo cloned with {CANARY}; sleep 3000"))
        yield name
    finally:
        left = docker("ps", "--all", "--quiet", f"--filter=label=com.docker.compose.project={name}").split()
        docker("rm", "--force", "--volumes", *left)


@pytest.fixture
def site(project: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name, value in (("COMPOSE_PROJECT_NAME", project), ("PREFECT_PORT", str(free_port()))):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(site_module, "ENGINE_SECONDS", 60.0)
    found = Site.read()
    assert found.form == "containers"
    return found


def until(check: str, word: str) -> str:
    """Wait until a check of the project, looked at anew, finds something wrong with that word."""

    def look() -> list[str]:
        return [one for one in wrongs(Site.read(), check) if word in one]

    return wait_for(f"{word!r} in {check}", look, 100, 0.3)[0]


@pytest.mark.docker
def test_what_ails_containers_is_found(site: Site) -> None:
    assert "the moon cannot be reached" in until("services", "git-server is unhealthy")
    assert "docker compose logs --since 2h rescue" in until("restarts", "rescue ended by itself")
    assert "YEEDU_MOCK_MEMORY" in until("memory-limits", "yeedu-mock ended because")
    assert_told(wrongs(site, "checkout"), str(Path(__file__).parent), "COMPOSE_PROJECT_NAME")
    assert_told([one for one in wrongs(site, "names") if "server does" in one and "git" not in one], "worker")
    assert [one.level for one in findings(site, "clock")] == ["ok", "ok"]  # of the two containers
    assert any("/var/lib/postgresql/data of postgres" in one.text for one in findings(site, "disk"))
    assert wrongs(site, "rescue")


@pytest.mark.docker
def test_what_ails_a_database_is_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    item = site.item("postgres")
    assert item
    inside = ["docker", "exec", "--interactive", item["Id"]]
    # By TCP, which the Postgres that the image starts for its preparation does not listen to.
    sql = [*inside, "psql", "--host=127.0.0.1", "--username=prefect", "--quiet"]
    done = wait_for(
        "Postgres",
        lambda: subprocess.run([*sql, f"--command={SQL}"], check=False, capture_output=True).returncode == 0,
        100,
    )
    assert done
    assert_told([until("dead-rows", "log has")], "dead rows", "vacuumdb")
    assert_told(notes(site, "retention"), "events of 30 d ago", "within a day of being up")
    monkeypatch.setattr(database, "CLEARING", timedelta(0))
    assert_told(wrongs(site, "retention"), "events of 30 d ago", "EVENT_RETENTION_SECONDS says 7 d")
    assert wrongs(site, "connections") == []
    others = [subprocess.Popen([*sql, "--command=SELECT pg_sleep(600)"]) for _ in range(3)]
    try:
        assert "of 4 connections are taken" in until("connections", "4 of 4")
    finally:
        for other in others:
            other.terminate()
            other.wait()


@pytest.mark.docker
def test_secret_of_a_volume_is_known_and_hidden(site: Site, tmp_path: Path) -> None:
    wait_for("secrets", lambda: Site.read().secrets().get("deployer/git-token") == CANARY, 60)
    masker, unknown = masker_of(site)
    assert unknown == ""
    write_bundle(tmp_path / "doctor.tar.gz", site, masker, [])
    with tarfile.open(tmp_path / "doctor.tar.gz") as archive:
        parts = {one.name: archive.extractfile(one).read().decode() for one in archive if one.isfile()}  # type: ignore[union-attr]
    assert [name for name, text in parts.items() if CANARY in text] == []
    [log] = [text for name, text in parts.items() if name.endswith("logs/worker.log")]
    assert "cloned with ***" in log


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (Engine("Docker 24.0.7 with Compose 2.33.1", is_usable=True), ["25 or newer"]),
        (Engine("Docker Compose is 2.10 (2.24 or newer is needed)", is_usable=False), ["2.24", "update"]),
        (Engine("no Docker engine answers (permission denied)", is_usable=False), ["start Docker"]),
    ],
)
def test_engine_that_cannot_be_used_is_wrong(tmp_path: Path, engine: Engine, words: list[str]) -> None:
    assert_told(wrongs(patient(tmp_path, {}, engine=engine), "engine"), *words)


def test_service_that_is_missing_or_never_started_is_wrong(tmp_path: Path) -> None:
    items = [container("server", "created", ""), container("worker")]
    found = wrongs(patient(tmp_path, {}, engine=AN_ENGINE, items=items), "services")
    assert [one.split(" ->")[0] for one in found] == [
        "server is created",
        "postgres: there is no such container",
    ]


def test_service_that_does_its_work_once_is_worth_a_note_while_it_does(tmp_path: Path) -> None:
    items = [container("secrets", "running", ""), container("deployer", "created", ""), container("postgres")]
    for one in items[:2]:
        one["HostConfig"]["RestartPolicy"]["Name"] = "no"
    items.append(container("server", "created", ""))
    site = patient(tmp_path, {}, engine=AN_ENGINE, items=items)
    assert wrongs(site, "services") == []
    assert [one.split(" ->")[0] for one in notes(site, "services")] == [
        "secrets is at work",
        "deployer waits",
        "server is created, and waits for others",
    ]


@pytest.mark.parametrize(("said", "level"), [("", "ok"), ("the worker waits for the work pool x", "note")])
def test_what_the_workers_health_check_says_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, level: str
) -> None:
    monkeypatch.setattr(Site, "unknown", str)  # all secrets are known
    item = container("worker")
    item["State"]["Health"]["Log"] = [{"ExitCode": 0, "Output": said}]
    [found] = findings(patient(tmp_path, {}, engine=AN_ENGINE, items=[item]), "worker-health")
    assert (found.level, said in found.text) == (level, True)


def test_runs_that_took_too_much_memory_are_worth_a_note(tmp_path: Path) -> None:
    items = [container("worker", OOMKilled=True)]
    site = patient(checkout(tmp_path), {}, engine=AN_ENGINE, items=items)
    assert_told(notes(site, "memory-limits"), "flow runs took more than there is", "WORKER_MEMORY")
