"""How each shape of checkout is published: live, as a snapshot, or not at all with a sentence that helps."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "snapshot.py"
OTHER_USER = 10001

Git = Callable[..., str]
FilesOf = Callable[[Path], list[str]]

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def run_as_other_user(checkout: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Publish as a user who owns nothing here; its Python must be one that everybody may run."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no Python that other users may run")
    return subprocess.run(
        [python, "-B", str(SCRIPT), str(checkout), str(target)],
        user=OTHER_USER,
        group=OTHER_USER,
        extra_groups=[],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def other_target(folder: Path) -> Path:
    """Where the other user may publish."""
    srv = folder / "srv"
    srv.mkdir()
    os.chown(srv, OTHER_USER, OTHER_USER)
    return srv / "flows.git"


def test_a_repository_is_served_live(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    target = folder / "srv" / "flows.git"
    published = snapshot.publish(checkout, target)
    assert published.snapshot_reason is None
    assert git(target, "rev-parse", "HEAD") == git(checkout, "rev-parse", "HEAD")
    (checkout / "flows" / "new.py").write_text("")
    git(checkout, "add", "flows/new.py")
    git(checkout, "commit", "--quiet", "--message", "Three")
    assert files_of(target) == [".gitignore", "flows/hello.py", "flows/new.py"]


def test_a_detached_head_is_served_live(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    git(checkout, "checkout", "--quiet", "--detach", "HEAD~1")
    published = snapshot.publish(checkout, folder / "flows.git")
    assert published.snapshot_reason is None
    assert files_of(folder / "flows.git") == [".gitignore", "flows/hello.py"]


def test_a_shallow_repository_is_served_live(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    git(folder, "clone", "--quiet", "--depth=1", f"file://{checkout}", "shallow")
    published = snapshot.publish(folder / "shallow", folder / "flows.git")
    assert published.snapshot_reason is None
    assert files_of(folder / "flows.git") == [".gitignore", "flows/hello.py"]


def test_of_an_archive_the_flows_are_served_without_secrets_and_ignored_files(
    snapshot: ModuleType, checkout: Path, folder: Path, files_of: FilesOf
) -> None:
    shutil.rmtree(checkout / ".git")
    for name in ("deployer/prefect.yaml", "prefect.yaml", "notes/tomorrow.txt", "flows/run.log"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).touch()
    (checkout / "flows" / ".env").write_text("TOKEN=hunter2\n")
    (checkout / "flows" / ".env.example").write_text("#TOKEN=\n")
    published = snapshot.publish(checkout, folder / "flows.git")
    assert "downloaded archive" in published.snapshot_reason
    assert files_of(folder / "flows.git") == [
        "deployer/prefect.yaml",
        "flows/.env.example",
        "flows/hello.py",
        "prefect.yaml",
    ]
    assert published.held_back == ("flows/.env",)
    assert published.describe(checkout).endswith("; held back as possible secrets: 'flows/.env'")


MAY_BE_SECRET = [
    *(
        ".env.local",
        ".ENV",
        ".Env.bak",
        "..env.swp",
        ".envrc",
        "prod.env",
        "id_rsa",
        "id_ed25519.pub",
        ".netrc",
    ),
    *("server.KEY", "cert.pem", "yeedu-password", "api_token.txt", "credentials.json", "Secrets.yaml"),
]
ARE_NOT = ["env.py", "environment.yaml", "secret_santa.py", "tokenizer.json", "password.sql", "tokens.ipynb"]


@pytest.mark.parametrize("name", MAY_BE_SECRET)
def test_what_may_be_a_secret_by_its_name_is_held_back_unless_it_is_committed(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf, name: str
) -> None:
    (checkout / "flows" / name).write_text("hunter2")
    git(checkout, "add", "flows")
    git(checkout, "commit", "--quiet", "--message", "Three")
    (checkout / ".git").rename(folder / "aside")
    published = snapshot.publish(checkout, folder / "flows.git")
    assert published.held_back == (f"flows/{name}",)
    assert files_of(folder / "flows.git") == ["flows/hello.py"]
    (folder / "aside").rename(checkout / ".git")
    is_setting = "env" in name.lower()
    assert snapshot.take_snapshot(checkout, folder / "tracked.git") == (
        (f"flows/{name}",) if is_setting else ()
    )


@pytest.mark.parametrize("name", ARE_NOT)
def test_source_code_may_be_named_after_secrets(
    snapshot: ModuleType, checkout: Path, folder: Path, files_of: FilesOf, name: str
) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / "flows" / name).touch()
    assert snapshot.publish(checkout, folder / "flows.git").held_back == ()
    assert f"flows/{name}" in files_of(folder / "flows.git")


def test_a_key_is_held_back_whatever_its_name(snapshot: ModuleType, checkout: Path, folder: Path) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / "flows" / "notes.txt").write_text("for me\n-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
    assert snapshot.publish(checkout, folder / "flows.git").held_back == ("flows/notes.txt",)


def test_an_archive_inside_another_repository_is_still_an_archive(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    shutil.rmtree(checkout / ".git")
    git(folder, "init", "--quiet")
    snapshot.publish(checkout, folder / "flows.git")
    assert "flows/hello.py" in files_of(folder / "flows.git")


def test_the_same_files_give_the_same_commit(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(checkout / ".git")
    snapshot.publish(checkout, folder / "one.git")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2020-02-02T02:02:02Z")
    monkeypatch.setenv("GIT_INDEX_FILE", str(folder / "foreign-index"))
    snapshot.publish(checkout, folder / "two.git")
    commits = {git(folder / name, "rev-parse", "main") for name in ("one.git", "two.git")}
    assert len(commits) == 1
    (checkout / "flows" / "hello.py").write_text("print('three')\n")
    snapshot.publish(checkout, folder / "two.git")
    assert git(folder / "two.git", "rev-parse", "main") not in commits


def test_odd_names_links_and_nested_repositories_do_no_harm(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / "flows" / "two\nlines").write_text("")
    (checkout / "flows" / "dangling").symlink_to("nowhere")
    os.mkfifo(checkout / "flows" / "pipe")
    git(checkout, "init", "--quiet", "flows/nested")
    (checkout / "flows" / "nested" / "file").write_text("")
    snapshot.publish(checkout, folder / "flows.git")
    assert files_of(folder / "flows.git") == [
        "flows/dangling",
        "flows/hello.py",
        '"flows/two\\nlines"',
    ]


def test_a_linked_worktree_is_live_where_its_repository_is_at_hand(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    git(checkout, "worktree", "add", "--quiet", "-b", "side", str(folder / "worktree"))
    (folder / "worktree" / "side.py").write_text("")
    git(folder / "worktree", "add", "side.py")
    git(folder / "worktree", "commit", "--quiet", "--message", "Side")
    published = snapshot.publish(folder / "worktree", folder / "flows.git")
    assert published.snapshot_reason is None
    assert "side.py" in files_of(folder / "flows.git")


def test_a_linked_worktree_without_its_repository_is_served_from_a_snapshot(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    git(checkout, "worktree", "add", "--quiet", str(folder / "worktree"))
    (checkout / ".git").rename(folder / "elsewhere")  # as in a container that mounts the worktree alone
    published = snapshot.publish(folder / "worktree", folder / "flows.git")
    assert "linked worktree" in published.snapshot_reason
    assert files_of(folder / "flows.git") == ["flows/hello.py"]


def test_missing_alternates_are_served_from_a_snapshot_with_the_tracked_files(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    (checkout / "forced.log").write_text("tracked although ignored\n")
    git(checkout, "add", "--force", "forced.log")
    git(checkout, "commit", "--quiet", "--message", "Force")
    git(folder, "clone", "--quiet", "--shared", str(checkout), "sharing")
    assert snapshot.why_not_live(folder / "sharing") is None
    checkout.rename(folder / "elsewhere")
    (folder / "sharing" / "run.log").write_text("ignored\n")
    (folder / "sharing" / "flows" / "draft.py").write_text("never added\n")
    published = snapshot.publish(folder / "sharing", folder / "flows.git")
    assert str(checkout / ".git" / "objects") in published.snapshot_reason
    assert files_of(folder / "flows.git") == [".gitignore", "flows/hello.py", "forced.log"]


def test_a_repository_without_a_commit_is_served_from_a_snapshot(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    shutil.rmtree(checkout / ".git")
    git(checkout, "init", "--quiet")
    published = snapshot.publish(checkout, folder / "flows.git")
    assert "no commit yet" in published.snapshot_reason
    assert "flows/hello.py" in files_of(folder / "flows.git")


def test_a_damaged_repository_is_served_from_a_snapshot_with_gits_own_words(
    snapshot: ModuleType, checkout: Path, folder: Path, git: Git, files_of: FilesOf
) -> None:
    blob = git(checkout, "rev-parse", "HEAD:flows/hello.py")
    (checkout / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    (checkout / "flows" / "draft.py").write_text("added, and not committed\n")
    git(checkout, "add", "flows/draft.py")
    published = snapshot.publish(checkout, folder / "flows.git")
    assert blob in published.snapshot_reason
    assert files_of(folder / "flows.git") == [".gitignore", "flows/hello.py"]


def test_a_file_that_was_deleted_since_is_not_missed(
    snapshot: ModuleType, checkout: Path, folder: Path, files_of: FilesOf
) -> None:
    (checkout / ".gitignore").unlink()
    snapshot.take_snapshot(checkout, folder / "flows.git")
    assert files_of(folder / "flows.git") == ["flows/hello.py"]


def test_publishing_again_replaces_a_snapshot_with_the_live_repository(
    snapshot: ModuleType, checkout: Path, folder: Path
) -> None:
    target = folder / "flows.git"
    (checkout / ".git").rename(folder / "aside")
    snapshot.publish(checkout, target)
    assert not target.is_symlink()
    (folder / "aside").rename(checkout / ".git")
    snapshot.publish(checkout, target)
    assert target.is_symlink()
    snapshot.publish(checkout, target)
    assert (checkout / ".git" / "HEAD").is_file()


@pytest.mark.parametrize(
    ("name", "words"), [("absent", "is not a folder: mount the checkout there"), ("empty", "holds no file")]
)
def test_nothing_to_serve_is_said_in_one_sentence(
    snapshot: ModuleType, folder: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    assert snapshot.main([str(folder / name), str(folder / "flows.git")]) == 1
    written = capsys.readouterr().err
    assert words in written
    assert written.count("\n") == 1


def test_a_missing_git_is_said_in_one_sentence(
    snapshot: ModuleType, checkout: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(snapshot.CheckoutError, match="git was not found"):
        snapshot.publish(checkout, folder / "flows.git")


def test_the_script_says_how_it_serves(checkout: Path, folder: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(checkout), str(folder / "flows.git")]
    live = subprocess.run(command, capture_output=True, text=True, check=True)
    assert live.stdout.startswith(f"git-server: serving {checkout} live")
    shutil.rmtree(checkout / ".git")
    taken = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "serving a snapshot" in taken.stdout
    assert "restart to serve later changes" in taken.stdout
    assert subprocess.run(command[:3], capture_output=True, check=False).returncode == 2


@needs_root
def test_another_owners_readable_checkout_is_served_live(checkout: Path, other_target: Path) -> None:
    result = run_as_other_user(checkout, other_target)
    assert result.returncode == 0, result.stderr
    assert "live" in result.stdout


@needs_root
@pytest.mark.parametrize(
    ("private", "has_history"),
    [
        (".", True),
        (".git", True),
        (".git/HEAD", True),
        (".git/objects", True),
        (".git/refs/heads", True),
        ("flows", False),
        ("flows/hello.py", False),
    ],
)
def test_what_may_not_be_read_is_named_with_its_mend(
    checkout: Path, other_target: Path, private: str, has_history: bool
) -> None:
    if not has_history:
        shutil.rmtree(checkout / ".git")
    path = checkout / private
    path.chmod(0o700 if path.is_dir() else 0o600)
    result = run_as_other_user(checkout, other_target)
    assert result.returncode == 1
    assert not result.stdout
    mode = "0700" if path.is_dir() else "0600"
    for part in (
        f"cannot read {path} ",
        f"mode {mode}",
        "user 10001:10001",
        "CHECKOUT_UID=0",
        "chmod -R go+rX",
    ):
        assert part in result.stderr
    assert result.stderr.count("\n") == 1


@needs_root
def test_private_objects_of_a_private_umask_are_found(checkout: Path, other_target: Path, git: Git) -> None:
    blob = git(checkout, "rev-parse", "HEAD:flows/hello.py")
    (checkout / ".git" / "objects" / blob[:2] / blob[2:]).chmod(0o400)
    result = run_as_other_user(checkout, other_target)
    assert result.returncode == 1
    assert f"{blob[:2]}/{blob[2:]} (owner 0:0, mode 0400)" in result.stderr


@needs_root
def test_the_owner_without_the_right_to_read_is_told_chmod_alone(checkout: Path, other_target: Path) -> None:
    secret = checkout / ".git" / "HEAD"
    os.chown(secret, OTHER_USER, OTHER_USER)
    secret.chmod(0o000)
    result = run_as_other_user(checkout, other_target)
    assert result.returncode == 1
    assert "chmod -R u+rX" in result.stderr
    assert "CHECKOUT_UID" not in result.stderr


@needs_root
def test_private_files_that_no_clone_reads_do_not_matter(checkout: Path, other_target: Path) -> None:
    for name in ("index", "logs", "hooks"):
        path = checkout / ".git" / name
        path.chmod(0o700 if path.is_dir() else 0o600)
    (checkout / ".env").chmod(0o600)
    (checkout / ".git" / "objects" / "tmp_obj_left_over").touch(mode=0o400)
    result = run_as_other_user(checkout, other_target)
    assert result.returncode == 0, result.stderr
    assert "live" in result.stdout
