"""Builds a clone from a pack of git objects, which need not be trusted.

Git names an object by a hash of its content, and a commit names everything that belongs to it. Git recomputes
these names from the pack, so a clone gets exactly what its repository has under the commit's name, or is not
built. Everything else in a clone, its settings and branches, is written here.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from yeedu_worker.git.command import Say
from yeedu_worker.git.reasons import GitError, Reason
from yeedu_worker.git.remote import Remote, Revision, Wanted

_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TAG = re.compile(r"refs/tags/(?!.*(\.\.|//|/\.|\.lock$))[\w.+@%=/-]+", re.ASCII)
_SHA256_DIGITS = 64
_HEADS = "refs/heads/"


class DamagedError(Exception):
    """What was kept is damaged or missing."""


@dataclass(frozen=True)
class Facts:
    """What a pack does not say about its clone; none of it decides the clone's content.

    Attributes:
        shallow: The commits whose parents were left out.
        is_default: Whether the branch is the repository's default branch.
        tags: The full names of tags that came with the commit; the repository is asked whether it has them.
    """

    shallow: tuple[str, ...] = ()
    is_default: bool = False
    tags: tuple[str, ...] = ()

    def write(self, file: Path) -> None:
        """Write them to a file, as JSON."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> "Facts":
        """Read what `write` wrote.

        Raises:
            DamagedError: The file does not hold that.
        """
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
            shallow, tags = (tuple(map(str, fields[name])) for name in ("shallow", "tags"))
            facts = cls(shallow, bool(fields["is_default"]), tags)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"{file}: {error}") from None
        if not all(map(_OBJECT.fullmatch, facts.shallow)) or not all(map(_TAG.fullmatch, facts.tags)):
            raise DamagedError(f"{file} names what is no commit, or no tag")
        return facts


def keep(remote: Remote, clone: Path, place: Path) -> Facts:
    """Move what a clone can be built from into a folder, and delete the rest of the clone.

    Raises:
        GitError: Git cannot pack the clone.
    """
    metadata = clone / ".git"
    if any(len(folder.name) == 2 for folder in (metadata / "objects").iterdir()):  # git fetched few objects
        remote.git(["repack", "-a", "-d", "-q"], clone)
    tags = remote.git(["for-each-ref", "--format=%(refname)", "refs/tags/"], clone).splitlines()
    for number, pack in enumerate(sorted((metadata / "objects" / "pack").glob("*.pack"))):
        pack.rename(place / f"{number}.pack")
    shallow = metadata / "shallow"
    facts = Facts(
        tuple(shallow.read_text(encoding="ascii").split()) if shallow.exists() else (),
        (metadata / "refs" / "remotes" / "origin" / "HEAD").exists(),
        tuple(filter(_TAG.fullmatch, tags)),
    )
    shutil.rmtree(clone)
    return facts


def build(
    place: Path,
    facts: Facts,
    remote: Remote,
    revision: Revision,
    wanted: Wanted,
    target: Path,
    say: Say | None,
) -> None:
    """Build a clone in an empty folder from what `keep` kept.

    Raises:
        DamagedError: The commit, or part of it, is not there.
        GitError: There is no space for it, or no git.
        OSError: The target cannot be written.
    """
    metadata = target / ".git"
    for folder in ("objects/pack", "refs"):  # without these two, git sees no repository
        (metadata / folder).mkdir(parents=True)
    for name, text in _metadata(facts, remote, revision, wanted):
        (metadata / name).parent.mkdir(parents=True, exist_ok=True)
        (metadata / name).write_text(text, encoding="utf-8")
    promisor = ["--promisor"] if wanted.directories else []
    if revision.reference.startswith(_HEADS):
        head = [revision.reference.removeprefix(_HEADS)]
    else:
        head = ["--detach", revision.reference if revision.branch else revision.commit]
    try:
        for pack in sorted(place.glob("*.pack")):
            copy = metadata / "objects" / "pack" / f"pack-{_checksum(pack, revision)}.pack"
            shutil.copyfile(pack, copy)
            remote.git(["index-pack", "-v", *promisor, str(copy)], target, say)
        if wanted.directories:
            remote.git(["sparse-checkout", "set", "--", *wanted.directories], target)
        remote.git(["checkout", "--progress", "--force", *head, "--"], target, say)
        if revision.reference:  # from the log of this checkout, git would describe the head differently
            shutil.rmtree(metadata / "logs")
    except GitError as error:
        if error.reason in (Reason.NO_SPACE, Reason.NO_GIT):
            raise
        raise DamagedError(str(error)) from None
    except FileNotFoundError as error:
        raise DamagedError(str(error)) from None


def _checksum(pack: Path, revision: Revision) -> str:
    """Return what git names a pack by: its last bytes, a checksum that git compares with the rest."""
    length = len(revision.commit) // 2
    with pack.open("rb") as opened:
        opened.seek(max(pack.stat().st_size - length, 0))
        return opened.read(length).hex()


def _metadata(facts: Facts, remote: Remote, revision: Revision, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Yield the files of a clone's `.git`, as git writes them, by their names."""
    branch = revision.reference.removeprefix(_HEADS) if revision.reference.startswith(_HEADS) else ""
    yield "HEAD", f"ref: {_HEADS}{branch or 'main'}\n"
    yield "config", "".join(_settings(remote, revision, wanted, branch))
    if facts.shallow:
        yield "shallow", "".join(f"{commit}\n" for commit in facts.shallow)
    if branch:
        yield revision.reference, f"{revision.commit}\n"
        yield f"refs/remotes/origin/{branch}", f"{revision.commit}\n"
        if facts.is_default:
            yield "refs/remotes/origin/HEAD", f"ref: refs/remotes/origin/{branch}\n"
    tags = {revision.reference: revision.commit} if revision.branch and not branch else {}
    if others := [tag for tag in facts.tags if tag not in tags]:
        tags |= remote.references(*others)
    for tag, name in tags.items():
        yield tag, f"{name}\n"


def _settings(remote: Remote, revision: Revision, wanted: Wanted, branch: str) -> Iterator[str]:
    extensions = {
        **({"objectFormat": "sha256"} if len(revision.commit) == _SHA256_DIGITS else {}),
        **({"partialClone": "origin"} if wanted.directories else {}),
    }
    yield f"[core]\n\trepositoryformatversion = {int(bool(extensions))}\n\tfilemode = true\n\tbare = false\n"
    yield "\tlogallrefupdates = true\n"
    yield f'[remote "origin"]\n\turl = {_value(remote.address.url)}\n'
    if branch:
        yield f"\tfetch = {_value(f'+{revision.reference}:refs/remotes/origin/{branch}')}\n"
    elif revision.branch:
        yield f"\tfetch = {_value(f'+{revision.reference}:{revision.reference}')}\n"
    elif not revision.reference:
        yield "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    if wanted.directories:
        yield "\tpromisor = true\n\tpartialclonefilter = blob:none\n"
    if extensions:
        yield "[extensions]\n" + "".join(f"\t{name} = {value}\n" for name, value in extensions.items())
    if branch:
        yield f"[branch {quoted(branch)}]\n\tremote = origin\n\tmerge = {_value(revision.reference)}\n"


def _value(value: str) -> str:
    """Return a value as git writes it: in quotes if part of it would otherwise be misread."""
    return quoted(value) if re.search(r'[#;"\\\s]', value) else value


def quoted(value: str) -> str:
    """Return a value in quotes, as git reads it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
