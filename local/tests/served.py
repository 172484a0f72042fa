"""The platform's own server with SQLite, and a checkout whose platform it is, for the tests of the doctor."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.doctor import database, runs, server, site
from local.doctor.site import Site
from local.tests.patients import checkout, patient, wrongs
from tests.platforms import Api
from tests.prefect_process import PrefectProcess

LOGIN = "admin:a-login-of-the-tests"
EVERY_DAY = {"active": True, "schedule": {"interval": 86400}}
JSON = dict[str, Any]


class Served:
    """A server, and a checkout whose platform it is."""

    def __init__(self, process: PrefectProcess, home: Path, root: Path) -> None:
        self.api = Api(process.url, LOGIN)
        self._database = home / "prefect.db"
        self._root = root
        self._port = process.port
        (root / ".local" / "server").mkdir(parents=True)
        (root / ".local" / "server" / "prefect.db").symlink_to(self._database)

    def site(self, **values: str) -> Site:
        own = {"PREFECT_PORT": str(self._port), "PREFECT_API_AUTH_STRING": LOGIN}
        return patient(self._root, {**own, **values}, is_process_form=True)

    def told(self, check: str, name: str, **values: str) -> list[str]:
        """Return what a check finds wrong that has to do with a name."""
        return [one for one in wrongs(self.site(**values), check) if name in one]

    def sql(self, statement: str, *values: str) -> None:
        with closing(sqlite3.connect(self._database, timeout=120)) as connection, connection:
            assert connection.execute(statement, values).rowcount

    def pool(self, **fields: object) -> str:
        name = f"pool-{uuid4().hex[:8]}"
        self.api.post("work_pools/", {"name": name, "type": "process"})
        if fields:
            self.api.patch(f"work_pools/{name}", fields)
        return name

    def deployment(self, pool: str, *schedules: JSON, queue: str = "default") -> str:
        name = f"of-{pool}-{queue}"
        flow = self.api.post("flows/", {"name": name})["id"]
        body = {"name": name, "flow_id": flow, "work_pool_name": pool, "work_queue_name": queue}
        return self.api.post("deployments/", {**body, "schedules": list(schedules), "entrypoint": "x.py:x"})[
            "id"
        ]

    def run(self, deployment: str, state: str, name: str = "", ago: timedelta = timedelta(hours=1)) -> JSON:
        """Make a run that was due, and took on its state, so long ago."""
        then = (datetime.now(UTC) - ago).isoformat()
        scheduled = {"type": "SCHEDULED", "name": name or None, "state_details": {"scheduled_time": then}}
        body = {"state": scheduled, "labels": {"yeedu-prefect.heartbeat-seconds": 30}}
        run = self.api.post(f"deployments/{deployment}/create_flow_run", body)
        for one in {"CANCELLING": ("RUNNING", state), "SCHEDULED": ()}.get(state, (state,)):
            moved = {"state": {"type": one}, "force": True}
            assert self.api.post(f"flow_runs/{run['id']}/set_state", moved)["status"] == "ACCEPT"
        run = self.api.get(f"flow_runs/{run['id']}")
        since = then.replace("T", " ").partition("+")[0]
        self.sql("UPDATE flow_run_state SET timestamp = ? WHERE id = ?", since, run["state_id"])
        return run


@contextmanager
def serving_platform(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    home = tmp_path_factory.mktemp("doctors-server")
    settings = {
        "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
        "PREFECT_API_AUTH_STRING": LOGIN,
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",  # so that no run is made
    }
    # How long the doctor waits for an answer is not what these tests are about.
    patience = ((site, "ANSWER"), (server, "ANSWER"), (runs, "ASKING"), (database, "BUSY"))
    with PrefectProcess(home, settings) as process, pytest.MonkeyPatch.context() as patched:
        for module, name in patience:
            patched.setattr(module, f"{name}_SECONDS", 60.0)
        yield Served(process, home, checkout(tmp_path_factory.mktemp("doctors-checkout")))
