"""The one-shot that writes the platform's secrets."""

import base64
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SERVER = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, SERVER / f"{name}.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


generate = load("generate_secrets")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "volumes"
    for secret in generate.SECRETS:
        (root / secret.folder).mkdir(parents=True, exist_ok=True)
    return root


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_first_start_generates_what_is_needed_and_leaves_the_rest_empty(root: Path, files: Path) -> None:
    generate.write_secrets(root, {}, files)
    found = contents(root)
    assert len(found["database/postgres-password"]) >= 40
    assert len(base64.urlsafe_b64decode(found["server/encryption-key"])) == 32
    assert found["api/auth-string"] == found["deployer/yeedu-token"] == found["deployer/git-token"] == ""
    assert found["deployer/yeedu-password"] == found["mock/yeedu-password"] != ""


def test_second_start_changes_nothing(root: Path, files: Path) -> None:
    generate.write_secrets(root, {}, files)
    before = contents(root)
    assert generate.write_secrets(root, {}, files) == []
    assert contents(root) == before


def test_own_value_and_own_file_win_over_generated_ones(root: Path, files: Path) -> None:
    (files / "YEEDU_TOKEN").write_text("from-file\n")
    generate.write_secrets(root, {"POSTGRES_PASSWORD": "from-value", "YEEDU_PASSWORD": "real"}, files)
    found = contents(root)
    assert found["database/postgres-password"] == "from-value"
    assert found["deployer/yeedu-token"] == "from-file"
    assert found["deployer/yeedu-password"] == "real"
    assert found["mock/yeedu-password"] != "real", "a real password must not reach the mock"


def test_with_a_token_the_mocks_password_is_not_taken_for_yeedus(root: Path, files: Path) -> None:
    generate.write_secrets(root, {"YEEDU_TOKEN": "token"}, files)
    assert contents(root)["deployer/yeedu-password"] == ""
    generate.write_secrets(root, {"YEEDU_TOKEN": "token", "YEEDU_PASSWORD": "own"}, files)
    assert contents(root)["deployer/yeedu-password"] == "own"
    generate.write_secrets(root, {}, files)
    found = contents(root)
    assert found["deployer/yeedu-token"] == ""
    assert found["deployer/yeedu-password"] == found["mock/yeedu-password"] != ""


def test_optional_secret_that_is_no_longer_configured_is_emptied(root: Path, files: Path) -> None:
    generate.write_secrets(root, {"FLOWS_GIT_TOKEN": "token"}, files)
    assert generate.write_secrets(root, {}, files) == ["FLOWS_GIT_TOKEN: not configured"]
    assert contents(root)["deployer/git-token"] == ""


@pytest.mark.parametrize("knob", ["POSTGRES_PASSWORD", "PREFECT_SERVER_ENCRYPTION_KEY"])
def test_a_secret_that_the_database_was_created_with_cannot_be_swapped(
    root: Path, files: Path, knob: str
) -> None:
    generate.write_secrets(root, {}, files)
    before = contents(root)
    other = base64.urlsafe_b64encode(os.urandom(32)).decode()
    with pytest.raises(generate.SecretError, match=f"{knob} differs") as caught:
        generate.write_secrets(root, {knob: other}, files)
    assert other not in str(caught.value)
    assert contents(root) == before


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("PREFECT_SERVER_ENCRYPTION_KEY", "short", "not a Fernet key"),
        ("PREFECT_SERVER_ENCRYPTION_KEY", "é", "not a Fernet key"),
        ("PREFECT_API_AUTH_STRING", "only-a-password", "user:password"),
        ("PREFECT_API_AUTH_STRING", "user:", "user:password"),
        ("PREFECT_API_AUTH_STRING", "user:pässword", "ASCII"),
        ("PREFECT_API_KEY", "two words", "one word"),
        ("PREFECT_API_KEY", "schlüssel", "one word"),
    ],
)
def test_malformed_value_is_refused_without_being_shown(
    root: Path, files: Path, knob: str, value: str, message: str
) -> None:
    with pytest.raises(generate.SecretError, match=message) as caught:
        generate.write_secrets(root, {knob: value}, files)
    assert f"{value!r}" not in str(caught.value)
    assert contents(root) == {}


def test_value_and_file_for_one_secret_are_refused(root: Path, files: Path) -> None:
    (files / "YEEDU_TOKEN").write_text("a")
    with pytest.raises(generate.SecretError, match="YEEDU_TOKEN and YEEDU_TOKEN_FILE are both set"):
        generate.write_secrets(root, {"YEEDU_TOKEN": "b"}, files)


def test_file_of_several_lines_is_refused(root: Path, files: Path) -> None:
    (files / "YEEDU_TOKEN").write_text("a\nb\n")
    with pytest.raises(generate.SecretError, match="more than one line"):
        generate.write_secrets(root, {}, files)


def test_own_values_keep_every_character_after_the_first_equals_sign(tmp_path: Path) -> None:
    file = tmp_path / "values"
    file.write_text("POSTGRES_PASSWORD=a=b #c'\"\nYEEDU_TOKEN=\n")
    assert generate.own_values(file) == {"POSTGRES_PASSWORD": "a=b #c'\""}


@pytest.mark.parametrize("character", ["\u2028", "\x0b", "\x1c", "\x85", "\r"])
def test_own_value_ends_with_its_line_and_at_no_other_character(tmp_path: Path, character: str) -> None:
    value = f"pa{character}PREFECT_API_AUTH_STRING=other:other"
    file = tmp_path / "values"
    file.write_bytes(f"PREFECT_API_AUTH_STRING=\nYEEDU_PASSWORD={value}\n".encode())
    assert generate.own_values(file) == {"YEEDU_PASSWORD": value}


@pytest.mark.parametrize("rest", ["word", "OTHER=word", "GITHUB_TOKEN=forged"])
def test_own_value_of_several_lines_is_refused_and_sets_nothing_else(tmp_path: Path, rest: str) -> None:
    file = tmp_path / "values"
    file.write_text(f"YEEDU_PASSWORD=pass\n{rest}\nYEEDU_TOKEN=\nGITHUB_TOKEN=\n")
    with pytest.raises(generate.SecretError, match="more than one line in ") as caught:
        generate.own_values(file)
    assert "forged" not in str(caught.value)


def test_program_takes_values_from_several_files_and_refuses_two_logins(root: Path, tmp_path: Path) -> None:
    """The key has a file of its own, which is there only with another server."""
    (tmp_path / "own").write_text("PREFECT_API_AUTH_STRING=\n")
    (tmp_path / "key").write_text("PREFECT_API_KEY=the-key\n")
    environment = {
        "SECRETS_ROOT": str(root),
        "OWN_FILES": str(tmp_path),
        "OWN_VALUES": f"{tmp_path / 'own'}:{tmp_path / 'key'}",
    }
    command = [sys.executable, str(SERVER / "generate_secrets.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PREFECT_API_KEY: written" in done.stdout
    assert contents(root)["key/api-key"] == "the-key"
    (tmp_path / "own").write_text("PREFECT_API_AUTH_STRING=me:password\n")
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (
        1,
        "secrets: PREFECT_API_AUTH_STRING and PREFECT_API_KEY are both set; remove one of them\n",
    )


def test_platform_without_the_users_values_is_never_started(root: Path, tmp_path: Path) -> None:
    """podman-compose passes over `configs:`; a login in .env would be off without a word."""
    environment = {
        "SECRETS_ROOT": str(root),
        "OWN_FILES": str(tmp_path),
        "OWN_VALUES": f"{tmp_path}/own-values",
    }
    command = [sys.executable, str(SERVER / "generate_secrets.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, contents(root)) == (1, "", {})
    assert done.stderr.startswith(
        f"secrets: {tmp_path}/own-values is missing, so that no value of .env counts;"
    )
    assert done.stderr.count("\n") == 1


def test_password_of_an_own_database_is_asked_for_and_may_change(root: Path, files: Path) -> None:
    with pytest.raises(generate.SecretError, match=r"^POSTGRES_PASSWORD is not set; give your database's"):
        generate.write_secrets(root, {}, files, has_own_database=True)
    for password in ("p@ss:w/rd?#[]%$ 'x'\"", "next"):
        generate.write_secrets(root, {"POSTGRES_PASSWORD": password}, files, has_own_database=True)
        assert contents(root)["database/postgres-password"] == password


@pytest.mark.parametrize(
    ("settings", "own", "message"),
    [
        (
            "PREFECT_SERVER_DATABASE_CONNECTION_URL",
            "yes",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL is not taken",
        ),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "", "PREFECT_API_DATABASE_CONNECTION_URL is not taken"),
        ("PREFECT_SERVER_DATABASE_HOST", "", "COMPOSE_FILE=docker-compose.yaml:deploy/own-database.yaml"),
        ("PREFECT_SERVER_DATABASE_HOST", "yes", ""),
        ("", "", ""),
    ],
)
def test_database_settings_that_nobody_follows_are_refused(
    settings: str, own: str, message: str, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "values").write_text("POSTGRES_PASSWORD=given\n")
    environment = {"SECRETS_ROOT": str(root), "OWN_FILES": str(tmp_path), "OWN_VALUES": f"{tmp_path}/values"}
    done = subprocess.run(
        [sys.executable, str(SERVER / "generate_secrets.py")],
        env={**environment, "DATABASE_SETTINGS": f" {settings} ", "OWN_DATABASE": own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (1 if message else 0), done.stderr
    assert message in done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "[::1]"])
def test_loopback_needs_no_login(address: str) -> None:
    generate.check_bind_address(address, "")


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::"])
def test_other_addresses_need_a_login(address: str) -> None:
    generate.check_bind_address(address, "user:password")
    with pytest.raises(generate.SecretError, match="set PREFECT_API_AUTH_STRING=user:password"):
        generate.check_bind_address(address, "")


def test_address_that_is_none_is_refused() -> None:
    with pytest.raises(generate.SecretError, match="not an IP address"):
        generate.check_bind_address("myhost", "user:password")
