"""Where a secret could show up: answers, logs, descriptions, layers of images, files of containers."""

import json
import os
import re
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import requests

from tests.platforms import LocalPlatform, Platform

FILTERS = (
    *("flows", "flow_runs", "task_runs", "deployments", "logs", "artifacts", "variables"),
    *("block_documents", "work_pools", "automations"),
)
CHUNK_BYTES = 2**20
LOGIN_TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")


def secrets_of(platform: Platform) -> dict[str, str]:
    """Return every secret that the platform made, by the file it is kept in."""
    if platform.kind == "local":
        folder = platform.checkout / ".local" / "secrets"
        found = {
            str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()
        }
    else:
        program = "import json, pathlib; print(json.dumps({str(f): f.read_text() for f in " + (
            "pathlib.Path('/run/platform').rglob('*') if f.is_file()}))"
        )
        run = ("docker", "compose", "--progress", "quiet", "run", "--rm", "--no-deps", "-T")
        found = json.loads(platform.must(*run, "secrets", "python", "-c", program))
    return {name: value.strip() for name, value in found.items() if value.strip()}


def places_of(platform: Platform) -> dict[str, str]:
    """Return what the API answers, what every service has logged, and what the engine tells of it all."""
    places = {name: json.dumps(platform.api.everything(f"{name}/filter")) for name in FILTERS}
    events = platform.api.post("events/filter", {"filter": {}, "limit": 50})
    pages = [events]
    while pages[-1].get("next_page") and len(pages) < 40:
        pages.append(platform.api.get(pages[-1]["next_page"].split("/api/", 1)[1]))
    places["events"] = json.dumps(pages)
    places["service logs"] = platform.diagnose(lines=100_000)
    for path in ("ui-settings", "openapi.json", "index.html"):
        places[path] = requests.get(f"{platform.address}/{path}", timeout=30).text
    if isinstance(platform, LocalPlatform):
        commands = platform.processes()
        assert commands
        places["command lines"] = "\n".join(commands)
        return places
    project = f"label=com.docker.compose.project={platform.environment['COMPOSE_PROJECT_NAME']}"
    for kind, options in {"container": ["--all"], "volume": [], "network": []}.items():
        found = platform.must("docker", kind, "ls", *options, "--quiet", "--filter", project).split()
        places[f"docker {kind} inspect"] = platform.must("docker", kind, "inspect", *found)
    images = images_of(platform)
    places["docker image inspect"] = platform.must("docker", "image", "inspect", *images)
    for image in images:
        places[f"history of {image}"] = platform.must("docker", "history", "--no-trunc", image)
    return places


def assert_hidden(secrets: dict[str, str], places: dict[str, str]) -> None:
    """Fail with the name of a secret, and of the place that shows it."""
    for place, text in places.items():
        for name, secret in secrets.items():
            assert secret not in text, f"{name} is in {place}"
        assert not LOGIN_TOKEN.search(text), f"a login token is in {place}"


def images_of(platform: Platform) -> list[str]:
    """Return the ids of the images that the platform's containers were made from."""
    containers = platform.must("docker", "compose", "ps", "--all", "--quiet").split()
    return sorted(set(platform.must("docker", "inspect", "--format={{.Image}}", *containers).split()))


def found_in_layers(images: Iterable[str], lines: Iterable[str], scratch: Path) -> set[str]:
    """Return which of the lines are anywhere in the layers or the descriptions of images."""
    patterns = scratch / "patterns"
    patterns.write_text("\n".join(lines), encoding="utf-8")
    search = ["grep", "--text", "--only-matching", "--fixed-strings", f"--file={patterns}"]
    with (
        subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving,
        subprocess.Popen(
            search, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": os.defpath, "LC_ALL": "C"}
        ) as searching,
        tarfile.open(fileobj=saving.stdout, mode="r|") as archive,
    ):
        assert searching.stdin
        assert searching.stdout
        for member in archive:
            if file := archive.extractfile(member):
                for chunk in unpacked(file):
                    searching.stdin.write(chunk)
        searching.stdin.close()
        found = set(searching.stdout.read().decode().splitlines())
    assert saving.returncode == 0
    return found


def unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a layer: some engines keep layers compressed."""
    chunk = file.read(CHUNK_BYTES)
    unpack = zlib.decompressobj(31).decompress if chunk.startswith(b"\x1f\x8b") else bytes
    while chunk:
        yield unpack(chunk)
        chunk = file.read(CHUNK_BYTES)


def found_in_files(platform: Platform, service: str, lines: Iterable[str]) -> set[str]:
    """Return which of the lines are anywhere in the files that a service may read or write.

    That is: clones with their .git, caches, states and databases; secrets are in /run/platform alone, and in
    the checkout's own .env, which is not looked into.
    """
    container = platform.must("docker", "compose", "ps", "--quiet", service).strip()
    search = (
        "grep --recursive --no-messages --text --only-matching --no-filename --fixed-strings"
        " --file=/dev/stdin /var/lib /tmp /srv /checkout/[!.]* /checkout/.git | sort --unique"
    )
    done = subprocess.run(
        ["docker", "exec", "--interactive", container, "sh", "-c", search],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return set(done.stdout.splitlines())
