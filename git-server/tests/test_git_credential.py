"""The credential helper gives git the API's login as it is, whatever characters it has."""

import subprocess
from pathlib import Path

import pytest

HELPER = Path(__file__).parents[1] / "git-credential-platform"


@pytest.mark.parametrize("password", ["plain", "ends:", "::", "a:b", " spaces ", "back\\slash%s", "'\"$HOME"])
@pytest.mark.parametrize("end", ["\n", ""])
def test_password_is_given_as_it_is(tmp_path: Path, password: str, end: str) -> None:
    file = tmp_path / "auth-string"
    file.write_text(f"admin:{password}{end}")
    helper = HELPER.read_text().replace("/run/platform/api/auth-string", str(file))
    done = subprocess.run(["sh", "-c", helper, "helper", "get"], capture_output=True, text=True, check=True)
    assert done.stdout == f"username=admin\npassword={password}\n"


def test_no_login_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "auth-string").touch()
    helper = HELPER.read_text().replace("/run/platform/api/auth-string", str(tmp_path / "auth-string"))
    for command in ("get", "store"):
        assert subprocess.run(["sh", "-c", helper, "helper", command], capture_output=True).stdout == b""
