"""A checkout on Windows has what runs in Linux as it is, whatever git is told to do with line ends."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.platforms import ROOT, commit, copy_checkout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as Git for Windows makes it by default."""
    folder = tmp_path_factory.mktemp("line-ends")
    copy_checkout(folder / "original")
    clone = [
        "git",
        "clone",
        "--quiet",
        "--config",
        "core.autocrlf=true",
        folder / "original",
        folder / "clone",
    ]
    subprocess.run(clone, check=True)
    return folder / "clone"


def test_every_file_has_line_feeds_alone(clone: Path) -> None:
    listed = subprocess.check_output(["git", "ls-files", "--eol"], cwd=clone, text=True)
    assert listed.count("w/lf") > 500
    assert re.findall(r"(?m)^.*w/(?:crlf|mixed).*$", listed) == []


def test_an_older_checkout_is_recovered_as_its_page_says(tmp_path: Path) -> None:
    original, older = tmp_path / "original", tmp_path / "older"
    (original / "server").mkdir(parents=True)
    (original / "server" / "script").write_bytes(b"#!/bin/sh\n")
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=original, check=True)
    commit(original, "Start")
    clone = ["git", "clone", "--quiet", "--config", "core.autocrlf=true", original, older]
    subprocess.run(clone, check=True)
    shutil.copy(ROOT / ".gitattributes", original)
    commit(original, "Pin line ends")
    subprocess.run(["git", "pull", "--quiet"], cwd=older, check=True)
    script = older / "server" / "script"
    assert script.read_bytes() == b"#!/bin/sh\r\n"
    mends = re.findall(
        r"`(git (?:rm|reset) [^`]*)`", (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    )
    assert len(mends) == 2
    for mend in mends:
        subprocess.run(mend.split(), cwd=older, check=True)
    assert script.read_bytes() == b"#!/bin/sh\n"


def test_every_script_finds_its_interpreter(clone: Path) -> None:
    scripts = [file for file in clone.rglob("*") if file.is_file() and file.read_bytes().startswith(b"#!")]
    shells = [file for file in scripts if re.match(rb"#!.*\b(ba)?sh\n", file.read_bytes())]
    assert {"with_secrets.py", "snapshot_schema.sh", "git-credential-platform", "attach.sh"} <= {
        file.name for file in scripts
    }
    for script in shells:
        subprocess.run(["bash", "-n", script], check=True)
    launcher = [clone / "server" / "with_secrets.py", "true"]
    (clone / "server" / "with_secrets.py").chmod(0o755)  # as the images have it
    subprocess.run(launcher, env={"PATH": os.environ["PATH"]}, check=True)
