"""Whether `make doctor` sees that an image is another than the checkout's, by the files that are in it."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from local.doctor.site import Ended, Site
from local.settings.platform import ROOT
from local.tests.patients import AN_ENGINE, assert_told, container, findings, notes, patient, wrongs

PLACES = {"server": ROOT / "server", "worker": ROOT / "worker" / "src" / "yeedu_worker"}


def digests_of(service: str) -> dict[str, str]:
    """Return what an image that is built from this checkout has, by the names that they have there."""
    if service == "worker":
        files = {file.relative_to(PLACES[service]).as_posix(): file for file in PLACES[service].rglob("*.py")}
    else:
        copied: list[str] = []
        for line in (ROOT / "server" / "Dockerfile").read_text().splitlines():
            if found := re.fullmatch(r"COPY --chmod=755 (.+) /opt/server/(?:yeedu_worker/)?", line):
                copied += found[1].split()
        files = {
            one.removeprefix("server/").removeprefix("worker/src/"): ROOT / one
            for one in copied
            if one.endswith(".py")
        }
    assert len(files) > 10
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


def site_with(
    monkeypatch: pytest.MonkeyPatch, service: str, digests: dict[str, str], policy: str = "build"
) -> Site:
    def silent(_: Site) -> str:
        return "no server is asked here"

    def inside(_: Site, asked: str, *command: str) -> Ended:
        assert asked == service
        assert command[0] == "/opt/venv/bin/python"
        return Ended(0, json.dumps(digests))

    monkeypatch.setattr(Site, "server", silent)
    monkeypatch.setattr(Site, "inside", inside)
    values = {"IMAGE_POLICY": policy}
    return patient(ROOT, values, engine=AN_ENGINE, items=[container(service)])


@pytest.mark.parametrize("service", ["server", "worker"])
def test_image_of_this_checkout_is_well(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    digests = digests_of(service)
    if service == "server":
        assert digests.keys() >= {"serve.py", "yeedu_worker/__init__.py", "yeedu_worker/patching.py"}
    [found] = findings(site_with(monkeypatch, service, digests), "versions")
    assert (found.level, found.text) == ("ok", f"the image of {service} is this checkout's")


@pytest.mark.parametrize(
    ("service", "name"),
    [("server", "yeedu_worker/patching.py"), ("server", "serve.py"), ("worker", "git/addresses.py")],
)
def test_image_with_another_file_is_wrong(monkeypatch: pytest.MonkeyPatch, service: str, name: str) -> None:
    digests = {**digests_of(service), name: hashlib.sha256(b"of another release").hexdigest()}
    told = wrongs(site_with(monkeypatch, service, digests), "versions")
    assert_told(told, f"the image of {service} is another", f"({name})", "`make up` builds")
    loaded = site_with(monkeypatch, service, digests, "never")
    assert_told(notes(loaded, "versions"), f"({name})", "load the images")


def test_image_with_a_file_more_or_less_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {**digests_of("server"), "gone.py": "0"}
    assert_told(wrongs(site_with(monkeypatch, "server", more), "versions"), "(gone.py)")
    less = {name: one for name, one in digests_of("worker").items() if name != "git/addresses.py"}
    assert_told(wrongs(site_with(monkeypatch, "worker", less), "versions"), "(git/addresses.py)")


def test_files_with_windows_line_ends_are_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "server.txt").write_text("prefect==3.0.0\n")
    (tmp_path / "server" / "serve.py").write_bytes(b"a\r\nb\r\n")
    site = site_with(monkeypatch, "server", {"serve.py": hashlib.sha256(b"a\nb\n").hexdigest()})
    site.root = tmp_path
    assert wrongs(site, "versions") == []
