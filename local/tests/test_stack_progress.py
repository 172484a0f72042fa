"""`make stack-up` returns when everything works as it is described now, and says what does not."""

import io
import json
from typing import Any

import pytest

from local.console import Console
from local.errors import CommandError
from local.stack import progress

JSON = dict[str, Any]
OLD = {"ContainerSpec": {"Image": "worker:1", "StopGracePeriod": None}}
SAME = {"ContainerSpec": {"Image": "worker:1", "StopGracePeriod": 10_000_000_000}}
NEW = {"ContainerSpec": {"Image": "worker:2", "StopGracePeriod": 10_000_000_000}}


def service(template: JSON, state: str = "", before: JSON | None = None, mode: str = "Replicated") -> JSON:
    status = {"UpdateStatus": {"State": state}} if state else {}
    previous = {"PreviousSpec": {"TaskTemplate": before}} if before else {}
    spec: JSON = {"Name": "it_worker", "Mode": {mode: {}}, "TaskTemplate": template}
    return {"Spec": spec, **status, **previous}


class Swarm:
    """Answers with one pair of description and count after the other, the last one for good."""

    def __init__(self, *answers: tuple[JSON, str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, ...]] = []

    def inspected(self, _kind: str, _names: list[str]) -> list[JSON]:
        return [self.answers[0][0]]

    def docker(self, *arguments: str) -> str:
        self.asked.append(arguments)
        if arguments[:2] == ("service", "ps"):
            return json.dumps({"Error": '"No such image: worker:2"'})
        if "--format" in arguments:
            count = (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])[1]
            return json.dumps({"Name": "it_worker", "Replicas": count})
        return "id"


def awaited(monkeypatch: pytest.MonkeyPatch, swarm: Swarm) -> str:
    monkeypatch.setattr(progress, "docker", swarm.docker)
    monkeypatch.setattr(progress, "inspected", swarm.inspected)
    monkeypatch.setattr(progress, "_PAUSE_SECONDS", 0)
    output = io.StringIO()
    progress.await_services("it", {"worker"}, Console(output))
    return output.getvalue()


@pytest.mark.parametrize(
    ("replicas", "is_whole"),
    [
        ("2/2", True),
        ("1/2", False),
        ("2/2 (max 1 per node)", True),
        ("0/1 (1/1 completed)", True),
        ("1/1 (0/1 completed)", False),
    ],
)
def test_what_docker_counts(replicas: str, is_whole: bool) -> None:
    assert progress.is_whole(replicas) == is_whole


def test_tasks_of_before_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    swarm = Swarm(
        (service(NEW, before=OLD), "2/2"),
        (service(NEW, "updating", before=OLD), "2/2"),
        (service(NEW, "completed", before=OLD), "2/2"),
    )
    assert "worker       2/2" in awaited(monkeypatch, swarm)
    assert len(swarm.answers) == 1


def test_what_did_not_change_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker tells its defaults of what is now, and not of what was."""
    assert "worker       2/2" in awaited(monkeypatch, Swarm((service(SAME, before=OLD), "2/2")))


def test_a_job_is_waited_for_until_it_has_ended_again(monkeypatch: pytest.MonkeyPatch) -> None:
    job = service(NEW, before=OLD, mode="ReplicatedJob")
    said = awaited(monkeypatch, Swarm((job, "1/1 (0/1 completed)"), (job, "0/1 (1/1 completed)")))
    assert "worker       0/1 (1/1 completed)" in said


def test_a_paused_update_is_resumed_and_given_up_when_it_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    paused, done = service(NEW, "paused", before=OLD), service(NEW, "completed", before=OLD)
    swarm = Swarm((paused, "1/2"), (done, "2/2"))
    assert "worker       2/2" in awaited(monkeypatch, swarm)
    assert swarm.asked.count(("service", "update", "--detach", "it_worker")) == 1
    with pytest.raises(CommandError, match="worker: its update is paused; No such image: worker:2: docker"):
        awaited(monkeypatch, Swarm((paused, "1/2")))


def test_what_does_not_start_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    with pytest.raises(CommandError, match=r"worker did not start within 0 minutes; worker: No such image"):
        awaited(monkeypatch, Swarm((service(NEW), "0/2")))


def test_what_it_waits_for_is_told_before_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_SECONDS", -1.0)
    said = awaited(monkeypatch, Swarm((service(NEW), "0/2"), (service(NEW), "2/2")))
    assert "worker       not yet: No such image: worker:2: docker service ps --no-trunc it_worker" in said
