"""The site of the documentation: whole, strictly built, and read without a network."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

import prefect_yeedu
from docs.site import reference
from docs.site.pages import FIRST
from docs.site.rooms import rooms
from prefect_yeedu.options import OptionFields
from yeedu_deployer.cli import COMMANDS, VALUES
from yeedu_mock.settings import Options

ROOT = Path(__file__).parents[2]
ROOMS = rooms((ROOT / FIRST).read_text(encoding="utf-8"))
ENTRIES = [link for room in ROOMS for _, link in room.entries]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    built = subprocess.run(
        [sys.executable, "-m", "docs.site", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_there_are_four_rooms() -> None:
    assert [room.name for room in ROOMS] == ["Tutorial", "How-to", "Reference", "Explanation"]


def test_every_page_is_in_exactly_one_room() -> None:
    pages = {page.name for page in ROOT.glob("docs/*.md")} - {Path(FIRST).name}
    assert sorted(link for link in ENTRIES if "/" not in link) == sorted(pages)
    assert len(ENTRIES) == len(set(ENTRIES))


def test_every_page_that_the_code_writes_is_in_the_room_for_it() -> None:
    [named] = [room for room in ROOMS if room.name == "Reference"]
    assert {f"../{source}" for source in reference.GENERATED} <= {link for _, link in named.entries}


def test_settings_has_every_setting_with_its_default_and_its_services() -> None:
    text = reference.settings()
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name, default in re.findall(r"(?m)^#(\w+)=(.*)$", example):
        shown = f"`{default}`" if default else ""
        assert f"| `{name}` | {shown} |" in text.replace("\\|", "|"), name
    for said, services in {"WORKER_LIMIT": "image-worker, worker", "YEEDU_TOKEN": "secrets"}.items():
        assert re.search(rf"(?m)^\| `{said}` \| [^|]*\| {services} \|$", text), said
    for word in re.findall(r"(?m)^# ((?!---)\w.*)$", example.partition("# --- ")[2]):
        assert word.split(": docs/")[0] in re.sub(r"\[(docs/[\w-]+\.md)\]\([^)]*\)", r"\1", text), word


def test_commands_has_every_target_of_the_makefile() -> None:
    helped = subprocess.check_output(["make", "help"], cwd=ROOT, text=True)
    said = dict(re.findall(r"(?m)^make ([\w-]+) +(.*)$", helped))
    assert len(said) > 30
    text = reference.commands()
    assert [name for name, what in said.items() if f"| `make {name}` | {what} |" not in text] == []


def test_the_deployers_commands_and_options_are_all_there() -> None:
    text = reference.deployer_commands()
    assert all(f"## deployer {name}\n" in text for name in COMMANDS)
    assert all(text.count(f"  {option} ") >= len(COMMANDS) for option, _, _ in VALUES)


def test_options_and_errors_of_the_operator_and_the_mock_are_all_there() -> None:
    options, errors, mock = reference.yeedu_options(), reference.yeedu_errors(), reference.mock_options()
    assert all(
        f"| `{name}` | `PREFECT_INTEGRATIONS_YEEDU_{name.upper()}` |" in options
        for name in OptionFields.model_fields
    )
    for name in prefect_yeedu.__all__:
        if name.startswith("Yeedu") and issubclass(getattr(prefect_yeedu, name), Exception):
            assert f"## {name}\n\n{getattr(prefect_yeedu, name).__doc__.splitlines()[0]}" in errors
    assert all(f"`YEEDU_MOCK_{name.upper()}`" in mock for name in Options.model_fields)


class _Assets(HTMLParser):
    """Collects what a browser loads for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        loaded = [said.get("src"), said.get("href") if tag == "link" else None, said.get("srcset")]
        self.addresses += [one for one in loaded if one]


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        assets = _Assets()
        assets.feed(page.read_text(encoding="utf-8"))
        assert [one for one in assets.addresses if re.match(r"(https?:)?//", one)] == [], page.name
        for one in assets.addresses:
            if not one.startswith("data:"):
                there = one if page.name != "404.html" else one.removeprefix("/")
                assert (page.parent / re.sub(r"[?#].*", "", there)).exists(), f"{page.name}: {one}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.fixture
def reader() -> Iterator[tuple[Page, list[str]]]:
    """A browser's page, and the addresses that it asked for."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        yield page, asked
        browser.close()


@pytest.mark.browser
def test_the_site_is_read_and_searched_from_the_file_system(
    site: Path, reader: tuple[Page, list[str]]
) -> None:
    page, asked = reader
    page.goto((site / "index.html").as_uri())
    for room in ROOMS:
        expect(page.get_by_role("link", name=room.name, exact=True).first).to_be_visible()
    page.locator(".md-search__button").click()
    page.locator("dialog input").first.fill("deferrable")
    found = page.locator("dialog").get_by_role("option", name="Options of a Yeedu run")
    expect(found.first).to_be_visible()
    found.first.click()
    expect(page.get_by_role("heading", name="Options of a Yeedu run", level=1)).to_be_visible()
    page.goto((site / "architecture.html").as_uri())
    assert [one for one in asked if not one.startswith(("file:", "data:"))] == []
