"""A stage runs the other release's code; it ends with its starter, however that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.console import Console
from local.errors import CommandError
from local.settings.platform import ROOT
from local.upgrade import stages
from local.upgrade.stages import run_stage
from tests.platforms import wait_for

# Ends as a stage of this release does; what it does until then is a test's.
STAGE = """
import sys, time
from local.interrupts import raise_on_interrupts
from local.upgrade.stages import end_with_the_starter
raise_on_interrupts()
end_with_the_starter()
try:
    {body}
except KeyboardInterrupt:
    open({ended!r}, "w").close()
    sys.exit(130)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "FOLDER", tmp_path / "state")


def release(folder: Path, body: str) -> Path:
    """Make a release whose stages do what a test says."""
    package = folder / "release" / "local" / "upgrade"
    package.mkdir(parents=True)
    for one in (package.parent, package):  # all but its stages is of this release
        own = ROOT / one.relative_to(folder / "release")
        (one / "__init__.py").write_text(f"__path__.append({str(own)!r})\n")
    (package / "__main__.py").write_text(STAGE.format(body=body, ended=str(folder / "ended")))
    return folder / "release"


def test_its_lines_are_shown_and_its_last_one_is_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = (
        r"one\n Volume \"x_data\"  Creating\n Container x-server-1  Started\nstage: the server does not start"
    )
    folder = release(tmp_path, f"print('{said}'); sys.exit(1)")
    with pytest.raises(CommandError, match=r"^the server does not start$"):
        run_stage(folder, ("start",), {}, Console())
    assert capsys.readouterr().out == "    one\n    stage: the server does not start\n"


def test_it_gets_variables_and_its_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = release(tmp_path, "import os; print(os.environ['OWN'], os.getcwd(), sys.argv[1:])")
    run_stage(folder, ("trial", "--form", "local processes"), {"OWN": "value"}, Console())
    assert f"value {folder} ['trial', '--form', 'local processes']" in capsys.readouterr().out


STARTER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from local.console import Console
from local.interrupts import raise_on_interrupts
from local.upgrade import stages
stages.FOLDER = Path({state!r})
raise_on_interrupts()
try:
    stages.run_stage(Path({folder!r}), (), {{}}, Console())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_it_ends_with_its_starter_and_the_next_one_waits_for_that(
    tmp_path: Path, how: signal.Signals, code: int
) -> None:
    folder = release(tmp_path, f"open({str(tmp_path / 'began')!r}, 'w').close(); time.sleep(60)")
    values = {"root": str(ROOT), "state": str(tmp_path / "state"), "folder": str(folder)}
    with subprocess.Popen([sys.executable, "-c", STARTER.format(**values)]) as starter:
        wait_for("the stage", (tmp_path / "began").exists, 60, 0.05)
        os.kill(starter.pid, how)
        assert starter.wait(60) == code
    stages.await_last_stage(Console())
    assert (tmp_path / "ended").exists()


def test_an_interrupt_ends_what_a_stage_waits_for(tmp_path: Path) -> None:
    """As a build that the trial has started: it would keep the stage's output open until its own end."""
    began = tmp_path / "began"
    folder = release(
        tmp_path,
        "import subprocess; p = subprocess.Popen(['sleep', '60']); "
        f"open({str(began)!r}, 'w').write(str(p.pid)); p.wait()",
    )
    values = {"root": str(ROOT), "state": str(tmp_path / "state"), "folder": str(folder)}
    with subprocess.Popen([sys.executable, "-c", STARTER.format(**values)]) as starter:
        wait_for("the build", lambda: began.exists() and began.read_text(), 60, 0.05)
        os.kill(starter.pid, signal.SIGINT)
        try:
            assert starter.wait(60) == 130
        except subprocess.TimeoutExpired:
            os.kill(int(began.read_text()), signal.SIGKILL)
            raise
    assert (tmp_path / "ended").exists()
