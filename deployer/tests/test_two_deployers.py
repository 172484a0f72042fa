"""Two deployers at once against one server: neither loses nor doubles anything, wherever they meet."""

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from declared import NAMELESS, ONE, TWO
from prefect.client.orchestration import get_client

from yeedu_deployer.inspection.inspector import FlowInspector
from yeedu_deployer.state import Kind, State

TRIGGER = "    triggers: [{name: done, expect: [x]}]\n"


@pytest.fixture
def second(platform, tmp_path):
    """A deployer of its own on another machine: its own client, files and inspector."""
    (tmp_path / "second").mkdir()
    with FlowInspector() as inspector, get_client(sync_client=True) as client:
        yield type(platform)(client, platform.server, platform.repository, inspector, tmp_path / "second")


def at_once(*jobs):
    """Run jobs in threads of their own, each with this thread's settings; returns what they return."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [
            found.result() for found in [pool.submit(contextvars.copy_context().run, job) for job in jobs]
        ]


def team(name, *deployments):
    return f"name: {name}{NAMELESS}{''.join(deployments) or '  []'}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rounds", [3, pytest.param(25, marks=pytest.mark.long)])
def test_two_files_and_one_deployment_of_both_many_times(platform, second, rounds):
    """Each round both register one deployment of their own, and the same third one with a trigger."""
    for number in range(rounds):
        shared = ONE.replace("name: one", f"name: shared-{number}") + TRIGGER
        first = team("first", shared, ONE.replace("name: one", f"name: mine-{number}"))
        other = team("second", shared, TWO.replace("name: two", f"name: theirs-{number}"))

        reports = at_once(
            partial(platform.apply, first), partial(second.apply, other, deployments_only=bool(number))
        )

        assert [report.failures for report in reports] == [[], []]
        names = sorted(f"{found.name}" for found in platform.client.read_deployments())
        assert f"mine-{number}" in names
        assert f"theirs-{number}" in names
        made = [report for report in reports if platform.outcomes(report)[f"shared-{number}"] == "created"]
        assert len(made) == 1
        found = [one for one in platform.client.read_automations() if one.name == "done"]
        assert len([one for one in found if one.enabled]) == len(found)
        applied = State.load(platform.client).of(Kind.DEPLOYMENT)
        assert applied[f"one/mine-{number}"].created
        assert applied[f"two/theirs-{number}"].created
        assert applied[f"one/shared-{number}"].created
        runs = [run for run in platform.client.read_flow_runs() if not run.auto_scheduled]
        assert len({run.deployment_id for run in runs}) == len(runs)
    platform.apply(team("first"))
    platform.apply(team("second"))
    assert platform.client.read_deployments() == []
    assert platform.client.read_automations() == []
    assert platform.client.read_variables() == []


@pytest.mark.timeout(200)
def test_one_that_comes_while_the_other_writes_waits_for_it(platform, second, monkeypatch):
    """The worst moment: the first has read the state and the server, and is about to write."""
    is_writing, may_go_on = threading.Event(), threading.Event()
    create = platform.client.create_deployment

    def pausing(**values):
        is_writing.set()
        assert may_go_on.wait(150)
        return create(**values)

    monkeypatch.setattr(platform.client, "create_deployment", pausing)
    tried = []

    def come_later():
        assert is_writing.wait(150)
        acquire = second.client.create_variable

        def trying(variable):
            tried.append(variable.name)
            if len(tried) == 2:
                may_go_on.set()
            return acquire(variable)

        monkeypatch.setattr(second.client, "create_variable", trying)
        return second.apply(team("second", ONE + TRIGGER, TWO))

    first, later = at_once(lambda: platform.apply(team("first", ONE + TRIGGER)), come_later)

    assert (first.failures, later.failures) == ([], [])
    assert platform.outcomes(first) == {"one": "created"}
    assert platform.outcomes(later) == {"one": "unchanged", "two": "created"}
    assert len(platform.client.read_automations()) == 1
    assert len(tried) >= 2
