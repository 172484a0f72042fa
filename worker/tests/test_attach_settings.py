"""What a worker is attached with: options, environment file, and what is remembered."""

import argparse
import os
import stat
import sys
from pathlib import Path

import pytest

from attach.attachment import Attachment, kept_login, resolve
from attach.cli import run
from attach.errors import AttachError
from attach.folder import fill_home, make_home, remove, write_private
from attach.options import parse
from attach.paths import Paths
from attach.process import worker_environment
from attach.run_lock import held
from attach.server import api_url
from attach.settings import CERTIFICATES, read_environment_file
from yeedu_worker.git.addresses import without_login

posix = pytest.mark.skipif(sys.platform == "win32", reason="file modes are of POSIX")


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CERTIFICATES:
        monkeypatch.delenv(name, raising=False)


def options(folder: Path, *arguments: str) -> argparse.Namespace:
    return parse(["run", "--folder", str(folder), *arguments])


def attached(folder: Path, *arguments: str) -> Attachment:
    """Resolve and remember a worker."""
    attachment = resolve(options(folder, "--server", "http://prefect:8080", "--name", "box", *arguments))
    make_home(attachment.paths)
    attachment.remember()
    return attachment


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://prefect:8080", "http://prefect:8080/api"),
        ("http://prefect:8080/", "http://prefect:8080/api"),
        ("https://prefect.example/api/", "https://prefect.example/api"),
        ("https://example.com/prefect", "https://example.com/prefect/api"),
        ("http://[::1]:8080", "http://[::1]:8080/api"),
    ],
)
def test_server_address(address: str, url: str) -> None:
    assert api_url(address) == url


@pytest.mark.parametrize(
    "address", ["prefect:8080", "", "ftp://x", "http://", "http://x:99999", "http://me:pw@x", "http://x?a=b"]
)
def test_address_that_cannot_be_used_is_one_sentence(address: str) -> None:
    with pytest.raises(AttachError, match=r"--server .*example\.com:8080"):
        api_url(address)


def test_environment_file_is_read_as_docker_compose_reads_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "Lisbon")
    file = tmp_path / "my.env"
    file.write_text(
        "# comment\n\nA=1\nB = two words # comment\nC='$HOME # kept'\nD=\nexport E=$PLACE-$A\nPLACE\n"
    )
    assert read_environment_file(file) == {
        "A": "1",
        "B": "two words",
        "C": "$HOME # kept",
        "D": "",
        "E": "Lisbon-1",
        "PLACE": "Lisbon",
    }


@pytest.mark.parametrize("line", ["a b", "1A=2", "=x"])
def test_malformed_line_of_the_environment_file_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "my.env"
    file.write_text(f"A=1\n{line}\n")
    with pytest.raises(AttachError, match=r"my\.env, line 2: write NAME=value"):
        read_environment_file(file)


def test_command_line_wins_over_environment_file_over_memory(tmp_path: Path) -> None:
    file = tmp_path / "my.env"
    file.write_text("WORKER_POOL=of-file\nWORKER_LIMIT=4\nFLOWS_GIT_URL=https://of.file\nKEY=value\n")
    folder = tmp_path / "w"
    attached(folder, "--pool", "before", "--limit", "2", "--query-seconds", "7")
    settings = resolve(options(folder, "--pool", "given", "--env-file", str(file))).settings
    assert (settings.pool, settings.limit, settings.query_seconds) == ("given", 4, 7)
    assert settings.flows_git_url == "https://of.file"
    assert settings.variables == {"KEY": "value"}


def test_queues_are_kept_until_others_or_none_are_given(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    attached(folder, "--work-queue", "staging", "--work-queue", "of parking")
    kept = resolve(options(folder)).settings
    assert (kept.queues, kept.polled) == (["staging", "of parking"], "yeedu-pool (staging, of parking)")
    file = tmp_path / "my.env"
    file.write_text("WORKER_QUEUES=night\n")
    assert resolve(options(folder, "--env-file", str(file))).settings.queues == ["night"]
    assert resolve(options(folder, "--work-queue", "")).settings.queues == []


def test_later_commands_need_only_the_folder(tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text("me:secret\n")
    before = attached(tmp_path / "w", "--pool", "p", "--auth-string-file", str(login))
    login.unlink()
    after = resolve(parse(["detach", "--folder", str(tmp_path / "w")]))
    assert after.settings == before.settings
    assert after.auth_string == "me:secret"
    assert after.was_attached


def test_key_is_kept_until_another_or_a_login_takes_its_place(tmp_path: Path) -> None:
    key, login, own = tmp_path / "key", tmp_path / "login", tmp_path / "own.env"
    key.write_text("the-key\n")
    login.write_text("me:secret\n")
    own.write_text("PREFECT_API_KEY=another-key\n")
    paths = attached(tmp_path / "w", "--api-key-file", str(key)).paths
    assert kept_login(paths) == ("", "the-key")
    attached(tmp_path / "w")
    assert kept_login(paths) == ("", "the-key")
    again = attached(tmp_path / "w", "--env-file", str(own))
    assert kept_login(paths) == ("", "another-key")
    assert "another-key" not in Path(paths.settings).read_text() + repr(again)
    attached(tmp_path / "w", "--auth-string-file", str(login))
    assert kept_login(paths) == ("me:secret", "")
    with pytest.raises(AttachError, match="a login and an API key are given"):
        attached(tmp_path / "w", "--auth-string-file", str(login), "--api-key-file", str(key))


@pytest.mark.parametrize("value", ["", "two words", "two\nlines", "schlüssel"])
def test_malformed_key_is_one_sentence_without_it(tmp_path: Path, value: str) -> None:
    key = tmp_path / "key"
    key.write_text(value, encoding="utf-8")
    with pytest.raises(AttachError, match="PREFECT_API_KEY") as caught:
        attached(tmp_path / "w", "--api-key-file", str(key))
    assert not value or value not in str(caught.value)


@posix
def test_certificates_of_the_shell_are_kept_for_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/ca/first.pem")
    attached(tmp_path)
    monkeypatch.delenv("SSL_CERT_FILE")
    later = resolve(options(tmp_path))
    environment = worker_environment(later.settings, later.paths, {"PATH": "/bin"}, 0)
    assert environment["SSL_CERT_FILE"] == "/ca/first.pem"
    monkeypatch.setenv("SSL_CERT_FILE", "/ca/second.pem")
    assert resolve(options(tmp_path)).settings.variables == {"SSL_CERT_FILE": "/ca/second.pem"}
    (tmp_path / "variables").write_text("SSL_CERT_FILE=/ca/third.pem\nMINE=1\n")
    given = resolve(options(tmp_path, "--env-file", str(tmp_path / "variables")))
    assert given.settings.variables == {"SSL_CERT_FILE": "/ca/third.pem", "MINE": "1"}


def test_login_and_settings_are_the_users_alone(tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text("me:secret")
    old = os.umask(0)
    try:
        paths = attached(tmp_path / "w", "--auth-string-file", str(login)).paths
    finally:
        os.umask(old)
    assert stat.S_IMODE(Path(paths.home).stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(paths.auth_string).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(paths.api_key).stat().st_mode) == 0o600
    assert "secret" not in Path(paths.settings).read_text()


@pytest.mark.parametrize("value", ["no-colon", "two:lines\nof:it", ""])
def test_malformed_login_is_one_sentence_without_it(tmp_path: Path, value: str) -> None:
    login = tmp_path / "login"
    login.write_text(value)
    with pytest.raises(AttachError, match="user:password") as caught:
        attached(tmp_path / "w", "--auth-string-file", str(login))
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--limit", "0"), "--limit='0' is not a whole number of at least 1"),
        (("--limit", "1.5"), "--limit='1.5'"),
        (("--limit", "nan"), "--limit='nan'"),
        (("--query-seconds", "-1"), "--query-seconds='-1' is not a number of seconds above 0"),
        (("--query-seconds", "nan"), "--query-seconds='nan'"),
        (("--grace-seconds", "14"), "--grace-seconds='14' is less than 15"),
        (("--name", "../x"), "--name '../x'"),
        (("--work-queue", "a,b"), "--work-queue 'a,b': the name of a queue has none of , /"),
        (("--work-queue", "a", "--work-queue", ""), "--work-queue ''"),
        (("--env-file", "missing.env"), "--env-file missing.env cannot be read"),
        (("--auth-string-file", "missing"), "missing cannot be read"),
    ],
)
def test_wrong_option_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(AttachError) as caught:
        resolve(options(tmp_path / "w", "--server", "http://x", *arguments))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(AttachError, match="holds something else"):
        attached(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_damaged_memory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(AttachError, match="is damaged; delete the folder"):
        resolve(options(tmp_path, "--server", "http://x"))


def test_main_process_of_a_container_is_not_detached_from_inside(tmp_path: Path) -> None:
    """The container would end in the middle, with the record still there."""
    paths = attached(tmp_path / "w").paths
    with held(Path(paths.lock), 1), pytest.raises(AttachError, match="stop the container instead"):
        run(parse(["detach", "--folder", str(tmp_path / "w")]))
    assert Path(paths.settings).exists()
    assert not Path(paths.stop_request).exists()


def test_folder_is_removed_with_read_only_files(tmp_path: Path) -> None:
    paths = attached(tmp_path / "w").paths
    fill_home(paths)
    pack = Path(paths.temporary) / "clone" / "pack.idx"
    pack.parent.mkdir()
    pack.write_text("x")
    pack.chmod(0o400)
    said: list[str] = []
    remove(Path(paths.home), said.append)
    assert not Path(paths.home).exists()
    assert said == [f"removed {paths.home}"]


def test_private_file_replaces_an_older_one(tmp_path: Path) -> None:
    file = tmp_path / "x"
    write_private(file, "first")
    write_private(file, "second")
    assert file.read_text() == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_login_in_an_address_is_not_shown() -> None:
    assert without_login("https://me:token@git.example/x.git") == "https://git.example/x.git"
    assert without_login("https://git.example/a@b") == "https://git.example/a@b"
    assert without_login("git@github.com:team/x.git") == "git@github.com:team/x.git"


def test_folder_of_another_name_is_another_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME", str(tmp_path))
    one = resolve(parse(["run", "--server", "http://x", "--name", "one"]))
    two = resolve(parse(["run", "--server", "http://x", "--name", "two"]))
    assert one.paths.home != two.paths.home
    assert isinstance(one.paths, Paths)


def test_a_teams_folder_gives_variables_and_is_remembered(tmp_path: Path) -> None:
    team = tmp_path / "team"
    team.mkdir()
    (team / "flows.env").write_text("TEAM=finance\nPLACE=Lisbon\n")
    file = tmp_path / "my.env"
    file.write_text("PLACE=Porto\n")
    given = ("--config-dir", str(team), "--env-file", str(file))
    assert attached(tmp_path / "w", *given).settings.variables == {"TEAM": "finance", "PLACE": "Porto"}
    (team / "flows.env").write_text("TEAM=sales\n")
    later = resolve(options(tmp_path / "w")).settings
    assert (later.config_dir, later.variables) == (str(team), {"TEAM": "sales"})
    with pytest.raises(AttachError, match=r"--config-dir .*/none: there is no such folder"):
        resolve(options(tmp_path / "w", "--config-dir", str(tmp_path / "none")))


def test_extras_are_remembered_until_others_are_given(tmp_path: Path) -> None:
    assert attached(tmp_path, "--extras", "etl").settings.extras == "etl"
    assert resolve(options(tmp_path)).settings.extras == "etl"
    assert resolve(options(tmp_path, "--extras", "")).settings.extras == ""
    file = tmp_path / "worker.env"
    file.write_text("WORKER_EXTRAS=geo\n")
    assert resolve(options(tmp_path, "--env-file", str(file))).settings.extras == "geo"
