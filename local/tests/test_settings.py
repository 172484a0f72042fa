"""Settings from the environment and .env."""

from pathlib import Path

import pytest

from local.errors import CommandError
from local.settings.platform import Settings


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PREFECT_PORT=1111\nYEEDU_MOCK_PORT=2222\n")
    monkeypatch.setenv("PREFECT_PORT", "3333")
    monkeypatch.delenv("YEEDU_MOCK_PORT", raising=False)
    settings = Settings.read(tmp_path)
    assert (settings.prefect_port, settings.mock_port) == (3333, 2222)


def test_defaults_need_no_file() -> None:
    settings = Settings({})
    assert (settings.prefect_port, settings.mock_port, settings.bind_address) == (8080, 8088, "127.0.0.1")
    assert (settings.ui_url, settings.api_url) == ("http://localhost:8080", "http://127.0.0.1:8080/api")
    assert settings.auth_string() == ""


def test_empty_value_is_the_default_except_where_empty_means_something() -> None:
    settings = Settings({"A": ""})
    assert settings.get("A", "default") == "default"
    assert settings.given("A", "default") == ""
    assert settings.given("B", "default") == "default"


@pytest.mark.parametrize("port", ["0", "65536", "http", "80 80", "-1"])
def test_port_that_is_none_is_refused_by_name(port: str) -> None:
    with pytest.raises(CommandError, match=f"PREFECT_PORT='{port}' is not a port"):
        _ = Settings({"PREFECT_PORT": port}).prefect_port


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080/api"),
        ("::", "http://[::1]:8080/api"),
        ("[::1]", "http://[::1]:8080/api"),
        ("192.0.2.7", "http://192.0.2.7:8080/api"),
    ],
)
def test_api_is_asked_where_it_is_published(address: str, url: str) -> None:
    assert Settings({"PREFECT_BIND_ADDRESS": address}).api_url == url


def test_bind_address_that_is_a_name_is_refused() -> None:
    with pytest.raises(CommandError, match="PREFECT_BIND_ADDRESS='localhost' is not an IP address"):
        _ = Settings({"PREFECT_BIND_ADDRESS": "localhost"}).bind_address


def test_login_comes_from_a_value_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "auth"
    file.write_text("me:from-file\n")
    assert Settings({"PREFECT_API_AUTH_STRING": "me:value"}).auth_string() == "me:value"
    assert Settings({"PREFECT_API_AUTH_STRING_FILE": str(file)}).auth_string() == "me:from-file"
    with pytest.raises(CommandError, match="PREFECT_API_AUTH_STRING_FILE"):
        Settings({"PREFECT_API_AUTH_STRING_FILE": str(tmp_path / "none")}).auth_string()


def test_another_server_is_what_the_file_alone_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People export these for a command line of their own, Prefect Cloud's for example."""
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_KEY_FILE"):
        monkeypatch.setenv(name, "https://elsewhere.example/api")
    own = Settings.read(tmp_path)
    assert (own.other_server, own.api_url, own.api_key()) == ("", "http://127.0.0.1:8080/api", "")
    (tmp_path / "key").write_text("the-key\n")
    lines = f"PREFECT_API_URL=https://prefect.example/api/\nPREFECT_API_KEY_FILE={tmp_path / 'key'}\n"
    (tmp_path / ".env").write_text(lines)
    other = Settings.read(tmp_path)
    assert other.other_server == other.api_url == "https://prefect.example/api"
    assert (other.ui_url, other.api_key()) == ("https://prefect.example", "the-key")


def test_links_lead_to_the_ui_of_prefect_cloud_unless_told_otherwise() -> None:
    cloud = {"PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/a/workspaces/w"}
    assert Settings(cloud).ui_url == "https://app.prefect.cloud/account/a/workspace/w"
    assert Settings({**cloud, "PREFECT_UI_URL": "https://ui.example/"}).ui_url == "https://ui.example"


def test_other_server_that_is_no_address_is_refused() -> None:
    with pytest.raises(CommandError, match=r"PREFECT_API_URL='prefect\.example' is not an address"):
        _ = Settings({"PREFECT_API_URL": "prefect.example"}).other_server


def test_no_value_appears_when_settings_are_printed() -> None:
    assert "hidden" not in repr(Settings({"YEEDU_PASSWORD": "hidden"}))


def test_images_are_built_or_those_that_are_there_are_taken() -> None:
    """Any other policy of Compose's would fetch images of the same names from a public registry."""
    assert Settings({}).builds_images
    assert not Settings({"IMAGE_POLICY": "never"}).builds_images
    with pytest.raises(CommandError, match=r"^IMAGE_POLICY='missing': set it to build or never$"):
        _ = Settings({"IMAGE_POLICY": "missing"}).builds_images


@pytest.mark.parametrize("registry", ["ghcr.io/team", "localhost:5000", "registry.example.com:443/a/b", ""])
def test_registry_is_what_names_of_images_begin_with(registry: str) -> None:
    assert Settings({"PLATFORM_REGISTRY": registry}).registry == registry


@pytest.mark.parametrize(
    "registry", ["https://ghcr.io/team", "ghcr.io/Team", "ghcr.io/team/", "ghcr.io team"]
)
def test_registry_that_no_name_can_begin_with_is_refused(registry: str) -> None:
    with pytest.raises(CommandError, match=r"^PLATFORM_REGISTRY='.*': set it to the prefix of image names"):
        _ = Settings({"PLATFORM_REGISTRY": registry}).registry
