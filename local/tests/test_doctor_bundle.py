"""What `make doctor BUNDLE=1` packs: enough for support, and nothing that is secret."""

import base64
import json
import stat
import tarfile
from pathlib import Path

import pytest

from local.doctor import bundle
from local.doctor.bundle import write_bundle
from local.doctor.masking import Masker
from local.doctor.model import wrong
from local.doctor.run import Told, examine, masker_of
from local.doctor.site import Site
from local.errors import CommandError
from local.tests.patients import NO_ENGINE, checkout, container, findings, patient

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----"
CANARIES = {
    "password": "canary-of-a-password",
    "special": 'canary "with\\ quotes& and é',
    "file": "canary-of-a-file",
    "login": "canary-user:canary-of-a-login",
    "index": "canary-of-an-index",
    "webhook": "https://hooks.example.com/canary-of-a-webhook",
    "staging": "canary-of-staging",
    "own": "canary-of-the-team",
    "kept": "canary-of-the-platform",
    "url": "canary-in-an-url",
    "bearer": "canary.in.a.header.1234",
    "named": "canary-by-its-name",
    "jwt": "eyJhbGciOiJub25lIn0.eyJjYW5hcnkiOjF9.c2lnbmF0dXJl",
    "key": base64.b64encode(b"canary-of-a-private-key-of-ssh" * 3).decode(),
    "github": "ghp_0123456789canary0123456789",
    "broken": "canary-of-a-broken-line",
}
HIDDEN_BY_LOOKS = {"url", "bearer", "named"}


def ailing(root: Path) -> Path:
    """Make a checkout with a canary in every place that a secret may be in."""
    (root / "secret").mkdir()
    (root / "secret" / "yeedu").write_text(CANARIES["file"] + "\n")
    (root / "secret" / "ssh").write_text(KEY.format(CANARIES["key"]))
    (root / "team").mkdir()
    (root / "team" / "flows.env").write_text(f"LAKE_TOKEN={CANARIES['own']}\n")
    env = (
        f"POSTGRES_PASSWORD={CANARIES['password']}",
        f"YEEDU_TOKEN='{CANARIES['special']}'",
        f"YEEDU_PASSWORD_FILE={root}/secret/yeedu",
        f"FLOWS_GIT_SSH_KEY_FILE={root}/secret/ssh",
        f"PREFECT_API_AUTH_STRING={CANARIES['login']}",
        f"PACKAGE_INDEX_URL=https://bot:{CANARIES['index']}@packages.example.com/simple",
        f"ALERT_WEBHOOK_URL={CANARIES['webhook']}",
        f"CONFIG_DIR={root}/team",
        "WORKER_NAME=a-name-to-be-seen",
    )
    checkout(root, "\n".join(env))
    (root / ".env.staging").write_text(f"YEEDU_PASSWORD={CANARIES['staging']}\n")
    (root / ".env.broken").write_text(f"this is no line\nexport YEEDU_TOKEN={CANARIES['broken']}\n")
    kept = root / ".local" / "secrets" / "server"
    kept.mkdir(parents=True)
    (kept / "encryption-key").write_text(CANARIES["kept"])
    logs = root / ".local" / "logs"
    logs.mkdir()
    (logs / "worker.log").write_text(
        "a line to be seen\n"
        + "\n".join(
            f"in a log: {one}" for name, one in CANARIES.items() if name not in {"url", "bearer", "named"}
        )
        + f"\nclone https://oauth2:{CANARIES['url']}@git.example.com/x.git"
        + f"\nAuthorization: Bearer {CANARIES['bearer']}"
        + f'\n{{"password": "{CANARIES["named"]}"}} token={CANARIES["named"]}'
        + f"\nBasic {base64.b64encode(CANARIES['login'].encode()).decode()}"
        + f"\n{json.dumps(CANARIES['special'])}"
    )
    return root


def parts_of(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as opened:
        members = [(one, opened.extractfile(one)) for one in opened]
        return {one.name.partition("/")[2]: file.read().decode() for one, file in members if file}


def test_no_secret_is_in_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    site = patient(ailing(tmp_path))
    masker, unknown = masker_of(site)
    assert unknown == ""
    assert masker.masked("false") == "false"
    told = [*examine(site, masker), Told("x", "x", (wrong(f"refused: {CANARIES['password']}", "x"),))]
    target = tmp_path / "build" / "doctor.tar.gz"
    write_bundle(target, site, masker, told)
    parts = parts_of(target)
    for name, text in parts.items():
        for canary, value in CANARIES.items():
            for form in (
                value,
                value.partition("canary-user:")[2] or value,
                base64.b64encode(value.encode()).decode(),
            ):
                assert form not in text, f"{canary} is in {name}"
    assert "canary-of" not in "".join(parts.values())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert parts.keys() >= {
        "doctor.json",
        "doctor.txt",
        "versions.txt",
        "settings.txt",
        "disk.txt",
        "logs/worker.log",
    }
    assert "a line to be seen\nin a log: ***" in parts["logs/worker.log"]
    assert "clone https://***@git.example.com/x.git" in parts["logs/worker.log"]
    assert "WORKER_NAME=a-name-to-be-seen" in parts["settings.txt"]
    assert "POSTGRES_PASSWORD=***" in parts["settings.txt"]
    assert json.loads(parts["doctor.json"])["format"] == 1


def test_logs_are_left_out_where_the_platforms_secrets_are_not_known(tmp_path: Path) -> None:
    item = container("worker", "exited", code=1, output=f"refused: https://me:{CANARIES['url']}@example.com")
    site = patient(checkout(tmp_path), {}, items=[item])
    masker, unknown = masker_of(site)
    assert "the container `secrets` is gone" in unknown
    write_bundle(tmp_path / "doctor.tar.gz", site, masker, [], unknown=unknown)
    parts = parts_of(tmp_path / "doctor.tar.gz")
    assert parts["logs/worker.log"].startswith("left out: secrets could not be read")
    [packed] = json.loads(parts["containers.json"])
    assert packed["state"] == "exited with code 1"
    assert packed["health"][0]["output"].startswith("left out: secrets could not be read")
    assert "refused" not in str(findings(site, "services"))
    assert CANARIES["url"] not in str(parts)


def test_a_broken_env_leaves_logs_out_and_its_other_lines_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONFIG_DIR", "COMPOSE_PROJECT_NAME", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    root = ailing(tmp_path)
    with (root / ".env").open("a") as file:
        file.write("\nCOMPOSE_PROJECT_NAME=mine\nthis is no line\nYEEDU_PASSWORD='open-quote-canary\n")
    site = patient(root)
    masker, unknown = masker_of(site)
    assert "this is no line" not in unknown
    assert "write NAME=value" in unknown
    assert site.project.name == "mine"
    assert masker.masked(f"{CANARIES['own']} open-quote-canary") == "*** ***"
    write_bundle(tmp_path / "doctor.tar.gz", site, masker, [], unknown=unknown)
    parts = parts_of(tmp_path / "doctor.tar.gz")
    assert parts["logs/worker.log"].startswith("left out: secrets could not be read")


@pytest.mark.parametrize(
    "line", ["PREFECT_PORT=eighty", "PREFECT_BIND_ADDRESS=here", "PREFECT_API_URL=nowhere"]
)
def test_a_bad_setting_costs_one_member_of_the_archive(tmp_path: Path, line: str) -> None:
    name, _, value = line.partition("=")
    site = patient(checkout(tmp_path), {name: value})
    write_bundle(tmp_path / "doctor.tar.gz", site, Masker([]), [])
    parts = parts_of(tmp_path / "doctor.tar.gz")
    assert parts["health.json"].startswith(f"left out: {name}=")
    assert "disk.txt" in parts


def test_no_part_of_an_archive_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Site) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "_disk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "doctor.tar.gz", patient(checkout(tmp_path), {}), Masker([]), [])
    assert not (tmp_path / "doctor.tar.gz").exists()


def test_archive_does_not_go_where_a_link_points(tmp_path: Path) -> None:
    (tmp_path / "link.tar.gz").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CommandError, match="exists already"):
        write_bundle(tmp_path / "link.tar.gz", patient(checkout(tmp_path), {}), Masker([]), [])
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_cut_has_no_half_of_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "canary-that-is-cut-in-two"
    monkeypatch.setattr(bundle, "_OUTPUT_CHARACTERS", 20)
    monkeypatch.setattr(bundle, "_LOG_BYTES", 40)
    (checkout(tmp_path) / ".local" / "logs").mkdir(parents=True)
    (tmp_path / ".local" / "logs" / "worker.log").write_text(f"at first {secret}\nthen {'x' * 26}\n")
    site = patient(tmp_path, {}, items=[container("worker", output=f"{'x' * 10}{secret}")])
    write_bundle(tmp_path / "doctor.tar.gz", site, Masker([secret]), [])
    parts = parts_of(tmp_path / "doctor.tar.gz")
    assert "canary" not in str(parts)
    assert parts["logs/worker.log"] == f"then {'x' * 26}\n"


def test_secrets_of_local_processes_are_known_beside_containers(tmp_path: Path) -> None:
    kept = checkout(tmp_path) / ".local" / "secrets" / "server"
    kept.mkdir(parents=True)
    (kept / "encryption-key").write_text(CANARIES["kept"])
    masker, _ = masker_of(patient(tmp_path, {}, items=[container("worker")]))
    assert masker.masked(CANARIES["kept"]) == "***"


def test_archive_that_is_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.tar.gz").write_text("mine")
    site = patient(checkout(tmp_path), {}, engine=NO_ENGINE)
    with pytest.raises(CommandError, match="exists already"):
        write_bundle(tmp_path / "mine.tar.gz", site, Masker([]), [])
    assert (tmp_path / "mine.tar.gz").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("POSTGRES_PASSWORD=abc", "POSTGRES_PASSWORD=***"),
        ("api_key: 'a b c', next", "api_key: '***', next"),
        ('{"password": "a b", "x": 1}', '{"password": "***", "x": 1}'),
        (json.dumps('{"token": "abc"}'), json.dumps('{"token": "***"}')),
        ("postgresql://me:p@db:5432/x", "postgresql://***@db:5432/x"),
        ("the password of the platform is wrong", "the password of the platform is wrong"),
        ("read token 3 of 4", "read token 3 of 4"),
        ("YEEDU_TOKEN: the value begins with '", "YEEDU_TOKEN: the value begins with '"),
        ("login password: Hunter2", "login password: ***"),
        ("use a token instead of basic authentication", "use a token instead of basic authentication"),
        ("YEEDU_PASSWORD_FILE=/no/such", "YEEDU_PASSWORD_FILE=/no/such"),
        ("git@github.com:team/flows.git", "git@github.com:team/flows.git"),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_a_sentence_is_not(text: str, hidden: str) -> None:
    assert Masker([]).masked(text) == hidden
