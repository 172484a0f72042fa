"""What `make doctor` finds in `.env` and in the files that it names."""

import os
from pathlib import Path

import pytest

from local.doctor import settings
from local.doctor.run import masker_of
from local.tests.patients import AN_ENGINE, assert_told, checkout, container, notes, patient, wrongs

SETTINGS = ("env-file", "env-names", "env-values", "settings", "secret-files")


def test_a_platform_without_env_has_nothing_wrong(tmp_path: Path) -> None:
    site = patient(checkout(tmp_path), {})
    assert [wrongs(site, check) for check in SETTINGS] == [[]] * len(SETTINGS)


def test_a_good_env_has_nothing_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PORT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "password").write_text("of-a-user")
    lines = (
        "# a comment",
        "PREFECT_PORT=8081",
        "COMPOSE_PROJECT_NAME=mine",
        "YEEDU_USERNAME='me # and $you'",
        f"YEEDU_PASSWORD_FILE={tmp_path}/password",
        "WAREHOUSE_URL=postgresql://warehouse@db/$$x",
        "YEEDU_UI_URL=",
    )
    site = patient(checkout(tmp_path, "\n".join(lines)))
    assert [wrongs(site, check) for check in SETTINGS] == [[]] * len(SETTINGS)
    assert [notes(site, check) for check in SETTINGS] == [[]] * len(SETTINGS)


@pytest.mark.parametrize(
    ("check", "line", "words"),
    [
        ("env-file", "PREFECT_PORT", []),
        ("env-file", "PREFECT PORT=1", ["line 1", "NAME=value"]),
        ("env-names", "PREFECT_PROT=8081", ["line 1", "did you mean PREFECT_PORT?"]),
        ("env-names", "yeedu_password_file=/x", ["did you mean YEEDU_PASSWORD_FILE?"]),
        ("env-names", "WORKER_LIMIT=1\nWORKER_LIMIT=2", ["line 2", "set in line 1 too"]),
        ("env-values", "WORKER_LIMIT=10 # more than that is too much", []),
        ("env-values", "YEEDU_PASSWORD=pa$word", ["has a $", "read as a variable", "$$"]),
        ("env-values", "YEEDU_PASSWORD=pa${word", ["single quotes"]),
        ("env-values", "YEEDU_TOKEN=changeme", ["placeholder"]),
        ("settings", "PREFECT_PORT=eighty", ["PREFECT_PORT='eighty' is not a port"]),
        ("settings", "PREFECT_BIND_ADDRESS=0.0.0.0", ["needs a login", "PREFECT_API_AUTH_STRING"]),
        ("settings", "PREFECT_API_AUTH_STRING=me:short", ["easy to guess"]),
        ("settings", "CA_CERT_FILE=/no/such.pem", ["CA_CERT_FILE", "no such file"]),
        ("settings", "CONFIG_DIR=/no/such", ["CONFIG_DIR", "no such folder"]),
        ("settings", "IMAGE_POLICY=sometimes", ["IMAGE_POLICY"]),
        (
            "settings",
            "COMPOSE_FILE=docker-compose.yaml:deploy/own-database.yaml",
            ["PREFECT_SERVER_DATABASE_HOST"],
        ),
        ("secret-files", "YEEDU_PASSWORD_FILE=/no/such", ["YEEDU_PASSWORD_FILE", "no such file"]),
    ],
)
def test_a_fault_in_env_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str, line: str, words: list[str]
) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PORT", "COMPOSE_FILE"):
        monkeypatch.delenv(name, raising=False)
    found = wrongs(patient(checkout(tmp_path, f"{line}\n")), check)
    if words:
        assert_told(found, *words)
    else:
        assert found == []


@pytest.mark.parametrize(
    ("name", "counts"),
    [(".env", True), (".env.staging", True), (".env.eu-west.1", True), (".env.threshold", True)]
    + [
        (f".env{end}", False) for end in ("rc", "~", ".example", ".staging~", ".bak", ".staging.swp", ".save")
    ],
)
def test_files_that_are_none_of_the_platform_are_let_be(tmp_path: Path, name: str, counts: bool) -> None:
    (checkout(tmp_path) / name).write_text("layout go # is no line\nYEEDU_TOKEN=of-a-canary\n")
    site = patient(tmp_path, {})
    assert bool(wrongs(site, "env-file")) == counts
    masker, _ = masker_of(site)
    assert masker.masked("of-a-canary") == "***"


def test_line_that_cannot_be_read_is_told_by_both_who_need_it(tmp_path: Path) -> None:
    site = patient(checkout(tmp_path, "YEEDU_TOKEN='open\n"))
    assert_told(wrongs(site, "env-file"), "line 1", "YEEDU_TOKEN", "needs to end with it")
    assert_told(wrongs(site, "settings"), "line 1", "YEEDU_TOKEN")


def test_name_that_is_nobodys_and_windows_line_ends_are_worth_a_note(tmp_path: Path) -> None:
    site = patient(checkout(tmp_path, "MY_TEAMS_OWN=1\r\nPREFECT_PORT=8081\r\n"))
    assert_told(notes(site, "env-names"), "MY_TEAMS_OWN", "flows.env")
    assert_told(notes(site, "env-file"), "Windows line endings", "sed")
    (tmp_path / ".env").write_text("YEEDU_PASSWORD=night #1\n")
    assert_told(notes(site, "env-values"), "ends before ' #'", "single quotes")
    assert wrongs(site, "env-values") == []


def test_value_of_the_shell_that_wins_is_worth_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_LIMIT", "3")
    site = patient(checkout(tmp_path, "WORKER_LIMIT=30\n"))
    assert_told(notes(site, "env-values"), "WORKER_LIMIT of your shell", "unset WORKER_LIMIT")


@pytest.mark.parametrize(
    ("mode", "line", "words"),
    [
        (0o644, "YEEDU_PASSWORD=secret", ["others", "may read .env", "chmod 600"]),
        (0o644, "YEEDU_PASSWORD_FILE=/run/secret", []),
        (0o600, "YEEDU_PASSWORD=secret", []),
        (0o666, "PREFECT_PORT=8081", ["everybody", "may write"]),
    ],
)
def test_env_with_secrets_that_others_may_read_is_wrong(
    tmp_path: Path, mode: int, line: str, words: list[str]
) -> None:
    found = wrongs(patient(checkout(tmp_path, line, mode)), "env-file")
    if words:
        assert_told(found, *words)
    else:
        assert found == []


def test_file_of_a_secret_that_containers_cannot_read_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("x")
    file.chmod(0o600)
    values = {"FLOWS_GIT_TOKEN_FILE": str(file)}
    there = patient(checkout(tmp_path), values, engine=AN_ENGINE, items=[container("worker")])
    assert_told(wrongs(there, "secret-files"), "the containers' users may not read it", f"chmod a+r {file}")
    assert wrongs(patient(tmp_path, values), "secret-files") == []
    monkeypatch.setattr(settings.sys, "platform", "darwin")
    assert wrongs(there, "secret-files") == []
    monkeypatch.setattr(settings.sys, "platform", "linux")
    monkeypatch.setattr(settings, "USER_OF_IMAGES", file.stat().st_uid)
    file.chmod(0o400)
    assert wrongs(there, "secret-files") == []
    file.chmod(0o200)
    assert len(wrongs(there, "secret-files")) == 1


def test_file_of_a_secret_that_is_empty_or_set_twice_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    values = {"YEEDU_TOKEN_FILE": str(tmp_path / "token"), "YEEDU_TOKEN": "x"}
    found = wrongs(patient(checkout(tmp_path), values), "secret-files")
    assert [one.split(" ->")[0].rpartition("is ")[2] for one in found][:1] == [
        "empty, so that it counts as unset"
    ]
    assert "YEEDU_TOKEN and YEEDU_TOKEN_FILE are both set" in found[1]


def test_secrets_of_local_processes_that_others_may_look_at_are_wrong(tmp_path: Path) -> None:
    (tmp_path / ".local" / "secrets").mkdir(parents=True)
    os.chmod(tmp_path / ".local" / "secrets", 0o755)  # noqa: PTH101
    assert_told(wrongs(patient(checkout(tmp_path), {}), "secret-files"), "others", "chmod 700")
