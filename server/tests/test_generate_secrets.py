"""The one-shot that writes the platform's secrets."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.script import load_script

SERVER = Path(__file__).parents[1]
generate = load_script(SERVER / "generate_secrets.py")


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


@pytest.mark.parametrize("setting", ["POSTGRES_PASSWORD", "PREFECT_SERVER_ENCRYPTION_KEY"])
def test_a_secret_that_the_database_was_created_with_cannot_be_swapped(
    root: Path, files: Path, setting: str
) -> None:
    generate.write_secrets(root, {}, files)
    before = contents(root)
    other = base64.urlsafe_b64encode(os.urandom(32)).decode()
    with pytest.raises(generate.SecretError, match=f"{setting} differs") as caught:
        generate.write_secrets(root, {setting: other}, files)
    assert other not in str(caught.value)
    assert contents(root) == before


@pytest.mark.parametrize(
    ("setting", "value", "message"),
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
    root: Path, files: Path, setting: str, value: str, message: str
) -> None:
    with pytest.raises(generate.SecretError, match=message) as caught:
        generate.write_secrets(root, {setting: value}, files)
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


# What Python, but no user, takes for the end of a line.
ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("end", [*ENDS, "\r"])
def test_value_is_not_cut_and_sets_nothing_else(tmp_path: Path, root: Path, files: Path, end: str) -> None:
    """A password may hold any character but a newline; an attacker's value must not become two settings."""
    file = tmp_path / "values"
    value = f"pa{end}PREFECT_API_AUTH_STRING=evil:evil"
    file.write_bytes(f"YEEDU_PASSWORD={value}\r\nYEEDU_TOKEN=t{end}x\n".encode())
    values = generate.own_values(file)
    assert values == {"YEEDU_PASSWORD": value, "YEEDU_TOKEN": f"t{end}x"}
    (files / "GITHUB_TOKEN").write_bytes(f"a{end}b\r\n".encode())
    generate.write_secrets(root, values, files)
    assert (root / "deployer" / "yeedu-password").read_bytes() == value.encode()
    assert (root / "deployer" / "github-token").read_bytes() == f"a{end}b".encode()
    assert generate.write_secrets(root, values, files) == []


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
    (tmp_path / "own").write_text("PREFECT_API_AUTH_STRING=me:password-of-the-test\n")
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


def test_an_own_redis_has_the_password_that_is_given_or_none(root: Path, files: Path) -> None:
    file = root / "redis" / "redis-password"
    generate.write_secrets(root, {}, files, has_own_redis=True)
    assert file.read_text() == ""
    generate.write_secrets(root, {"REDIS_PASSWORD": "theirs"}, files, has_own_redis=True)
    assert file.read_text() == "theirs"
    generate.write_secrets(root, {}, files, has_own_redis=True)
    assert file.read_text() == ""
    generate.write_secrets(root, {}, files)
    assert len(file.read_text()) > 20


@pytest.mark.parametrize(
    ("settings", "own", "message"),
    [
        (
            "PREFECT_SERVER_DATABASE_CONNECTION_URL",
            "yes",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL is not supported",
        ),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "", "PREFECT_API_DATABASE_CONNECTION_URL is not supported"),
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


def refused(address: str = "127.0.0.1", login: str = "", url: str = "http://localhost:8080") -> str:
    """Return what is said of settings of the platform's own server; an empty string when they are taken."""
    try:
        generate.check_own_server(address, login, url)
    except generate.SecretError as error:
        return str(error)
    return ""


GOOD = "user:password-of-the-test"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "[::1]"])
def test_loopback_needs_no_login(address: str) -> None:
    assert refused(address) == ""


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::"])
def test_other_addresses_need_a_login(address: str) -> None:
    assert refused(address, GOOD) == ""
    assert "set PREFECT_API_AUTH_STRING=user:password" in refused(address)


def test_address_that_is_none_is_refused() -> None:
    assert "not an IP address" in refused("myhost", GOOD)


@pytest.mark.parametrize(
    "login", ["admin:a", "admin:12345678901", "admin:aaaaaaaaaaaaaaaa", "administrator:administrator1"]
)
def test_password_that_is_soon_guessed_is_refused_wherever_the_server_listens(login: str) -> None:
    for address in ("127.0.0.1", "0.0.0.0"):
        sentence = refused(address, login)
        assert "it needs 12 characters beside the user's name, 5 of them different" in sentence
        assert login not in sentence


@pytest.mark.parametrize("login", ["a:abcdefghijklm", "me:me and twelve more", "x:#\"'=:;|\x1c\x85 and more"])
def test_any_long_password_will_do(login: str) -> None:
    assert refused("0.0.0.0", login) == ""


@pytest.mark.parametrize("url", ["http://localhost:8080", "https://prefect.example.com/", "http://[::1]:80"])
def test_ui_has_a_host_of_its_own(url: str) -> None:
    assert refused(url=url) == ""


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "https://tools.example.com/prefect",
            "is below a path, where the UI does not work; give it a host name",
        ),
        ("https://tools.example.com/prefect/", "as in https://prefect.example.com"),
        ("https://tools.example.com/#prefect", "is below a path"),
        ("tools.example.com", "PREFECT_UI_URL=tools.example.com is not an address"),
        ("http://[::1", "is not an address"),
        ("", "is not an address"),
    ],
)
def test_ui_below_a_path_is_refused_with_what_to_do(url: str, sentence: str) -> None:
    assert sentence in refused(url=url)


def test_login_and_links_of_another_server_are_not_judged(root: Path, tmp_path: Path) -> None:
    """It may ask for a short password, and its UI may be below a path."""
    (tmp_path / "own").write_text("PREFECT_API_AUTH_STRING=me:short\n")
    environment = {
        "SECRETS_ROOT": str(root),
        "OWN_FILES": str(tmp_path),
        "OWN_VALUES": str(tmp_path / "own"),
        "PREFECT_UI_URL": "https://app.prefect.cloud/account/a/workspace/w",
    }
    command = [sys.executable, str(SERVER / "generate_secrets.py")]
    own = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert own.returncode == 1
    assert own.stderr.startswith("secrets: the password in PREFECT_API_AUTH_STRING is easy to guess")
    environment["PREFECT_BIND_ADDRESS"] = ""  # as deploy/other-server.yaml sets it
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (other.returncode, other.stderr) == (0, "")
    assert contents(root)["api/auth-string"] == "me:short"
