"""Which locks a worker's environment is made from, and how a list that is not locked is noticed."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from attach import environment, requirement_locks
from attach.errors import AttachError
from attach.requirement_locks import LOCK, LockError, digest, further_locks

CHANGED = r"flows/requirements\.txt has changed since `make lock`; run it"
PROGRAM = requirement_locks.__file__


def write_list(checkout: Path, text: str) -> None:
    (checkout / "flows").mkdir(exist_ok=True)
    (checkout / "flows" / "requirements.txt").write_bytes(text.encode())


def lock_list(checkout: Path, *packages: str) -> None:
    """Write the lock of the list as it is, as `make lock` does."""
    (checkout / LOCK).parent.mkdir(exist_ok=True)
    lines = [f"# Compiled from flows/requirements.txt (digest {digest(checkout)}). Do not edit.", *packages]
    (checkout / LOCK).write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with an empty list, locked, and two extras."""
    write_list(tmp_path, "# nothing yet\n")
    lock_list(tmp_path)
    (tmp_path / requirement_locks.EXTRAS).mkdir()
    for name in ("etl", "geo"):
        (tmp_path / requirement_locks.EXTRAS / f"{name}.txt").write_text(f"{name}==1\n")
    return tmp_path


def test_empty_list_adds_nothing(checkout: Path) -> None:
    assert further_locks(checkout, "") == []


def test_a_teams_list_takes_the_place_of_the_checkouts(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    team = tmp_path_factory.mktemp("team")
    assert further_locks(checkout, "", team) == further_locks(checkout, "")
    (team / "requirements.txt").write_text("cowsay\n")
    with pytest.raises(LockError, match=rf"^{team}/requirements\.txt has changed since `make lock`; run it$"):
        further_locks(checkout, "", team)
    (team / "requirements.lock").write_text(f"# digest {digest(checkout, team)}\ncowsay==6.1\n")
    assert further_locks(checkout, "etl", team) == [
        checkout / requirement_locks.EXTRAS / "etl.txt",
        team / "requirements.lock",
    ]


def test_chosen_extras_come_first_each_once(checkout: Path) -> None:
    write_list(checkout, "cowsay\n")
    lock_list(checkout, "cowsay==6.1 \\", "    --hash=sha256:x")
    found = [lock.relative_to(checkout).as_posix() for lock in further_locks(checkout, " geo, etl,geo,")]
    assert found == ["requirements/extras/geo.txt", "requirements/extras/etl.txt", "requirements/flows.txt"]


def test_comments_and_line_ends_of_another_system_change_nothing(checkout: Path) -> None:
    write_list(checkout, "cowsay\n")
    lock_list(checkout, "cowsay==6.1")
    write_list(checkout, "\ufeff# for the cow\r\n\r\n  cowsay # says it\r\n")
    assert further_locks(checkout, "") == [checkout / LOCK]


@pytest.mark.parametrize("text", ["", "cowsay\npyfiglet\n", "cowsay==6.0\n"])
def test_list_that_was_edited_but_not_locked_is_refused(checkout: Path, text: str) -> None:
    write_list(checkout, "cowsay\n")
    lock_list(checkout, "cowsay==6.1")
    write_list(checkout, text)
    with pytest.raises(LockError, match=CHANGED):
        further_locks(checkout, "")


def test_list_that_was_never_locked_is_refused(checkout: Path) -> None:
    (checkout / LOCK).unlink()
    with pytest.raises(LockError, match=CHANGED):
        further_locks(checkout, "")


def test_unknown_extra_is_told_what_there_is(checkout: Path) -> None:
    with pytest.raises(LockError, match=r"there is no extra 'elt'; requirements/extras/ has: etl, geo"):
        further_locks(checkout, "etl,elt")
    (checkout / requirement_locks.EXTRAS / "new.in").touch()
    with pytest.raises(LockError, match=r"requirements/extras/new\.in is not locked yet; run `make lock`"):
        further_locks(checkout, "new")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-r more.txt", "'-r more.txt' is no requirement; write one on each line"),
        ("--index-url https://index.example/simple", "is no requirement"),
        ("./libs/mine", "is no requirement"),
        ("mine @ git+https://git.example/mine", "has no hash; name a package, or the address of a wheel"),
        ("mine @ file:///libs/mine", "has no hash"),
    ],
)
def test_line_that_cannot_be_locked_is_named(checkout: Path, line: str, sentence: str) -> None:
    write_list(checkout, f"cowsay\n{line}\n")
    with pytest.raises(LockError) as raised:
        digest(checkout)
    assert str(raised.value).startswith("flows/requirements.txt, line 2: ")
    assert sentence in str(raised.value)


def test_program_prints_arguments_for_uv_or_one_sentence(checkout: Path) -> None:
    def said(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, PROGRAM, str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert said("").stdout == "\n"
    assert said("etl").stdout == f"-r {checkout / requirement_locks.EXTRAS / 'etl.txt'}\n"
    assert said("--digest").stdout.strip() == digest(checkout)
    write_list(checkout, "cowsay\n")
    refused = said("")
    assert refused.returncode == 1
    assert refused.stderr == "flows/requirements.txt has changed since `make lock`; run it\n"


def test_environment_is_made_from_all_of_them_and_anew_when_one_changes(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "PACKAGES", {})
    for name in ("uv.txt", "worker.txt"):
        (checkout / "requirements" / name).write_text("x==1\n")
    plain, extra = environment.locks_of(checkout, ""), environment.locks_of(checkout, "etl")
    install = environment.install_commands(checkout, checkout / "env", None, extra, [])[1]
    assert install[-4:] == ["--requirements", str(extra[1]), "--requirements", str(extra[2])]
    digests = {environment.digest(checkout, plain), environment.digest(checkout, extra)}
    extra[2].write_text("etl==2\n")
    assert len({*digests, environment.digest(checkout, extra)}) == 3
    with pytest.raises(AttachError, match="there is no extra"):
        environment.locks_of(checkout, "elt")


def test_own_packages_are_taken_from_wheels_that_bear_their_names(tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    for folder in environment.PACKAGES:
        project = tomllib.loads((repository / folder / "pyproject.toml").read_text("utf-8"))["project"]
        (tmp_path / f"{project['name'].replace('-', '_')}-0.1.0-py3-none-any.whl").touch()
    found = environment.own_packages(repository, tmp_path)
    assert {one.parent for one in found} == {tmp_path}
    assert len(set(found)) == len(environment.PACKAGES) == 3
    assert environment.own_packages(repository, None) == [repository / one for one in environment.PACKAGES]


def test_pip_trusts_what_uv_is_told_to_trust() -> None:
    own = environment.own_environment({"SSL_CERT_FILE": "/ca.pem", "VIRTUAL_ENV": "/other", "PATH": "/bin"})
    assert own == {"SSL_CERT_FILE": "/ca.pem", "PIP_CERT": "/ca.pem", "PATH": "/bin"}
    told = {"SSL_CERT_FILE": "/ca.pem", "PIP_CERT": "/pip.pem"}
    assert environment.own_environment(told) == told
    index = "https://reader:token@packages.example/simple"
    asked = environment.own_environment({"PACKAGE_INDEX_URL": index, "PIP_INDEX_URL": "https://pypi.example"})
    assert (asked["PIP_INDEX_URL"], asked["UV_DEFAULT_INDEX"]) == (index, index)
