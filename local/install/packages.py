"""What is installed besides the platform's own locks, from which package index, with which certificates."""

import hashlib
import os
import re
import ssl
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from local.errors import CommandError
from local.script import load_script
from local.settings.platform import ROOT, Settings


def further_locks(settings: Settings) -> list[str]:
    """Return the locks of ``WORKER_EXTRAS`` and of the flows' list, as paths relative to ``requirements/``.

    Raises:
        CommandError: There is no such extra, or the list has changed since it was locked.
    """
    script = load_script(ROOT / "worker" / "attach" / "requirement_locks.py")
    try:
        found: list[Path] = script.further_locks(ROOT, settings.get("WORKER_EXTRAS"), settings.config_dir())
    except script.LockError as error:
        raise CommandError(str(error)) from None
    return [os.path.relpath(lock, ROOT / "requirements") for lock in found]


def further_digest(settings: Settings) -> str:
    """Return a digest of the contents of `further_locks`, whatever folder they are in.

    Raises:
        CommandError: As `further_locks` does.
    """
    digest = hashlib.sha256()
    for lock in further_locks(settings):
        lines = (ROOT / "requirements" / lock).read_text(encoding="utf-8").splitlines()
        digest.update("\n".join(line for line in lines if not line.startswith("#")).encode())
    return digest.hexdigest()


def extra_locks(settings: Settings) -> list[str]:
    """Return the locks of ``WORKER_EXTRAS`` and of the flows' list, whether or not they exist."""
    script = load_script(ROOT / "worker" / "attach" / "requirement_locks.py")
    _, own = script.list_and_lock(ROOT, settings.config_dir())
    extras = script.names_of(settings.get("WORKER_EXTRAS"))
    return [os.path.relpath(own, ROOT), *(f"{script.EXTRAS}/{name}.txt" for name in extras)]


def own_certificate(settings: Settings) -> Path | None:
    """Return the file of the user's own CA; ``None`` when there is none.

    Raises:
        CommandError: There is no such file, or it cannot be used.
    """
    file = settings.ca_file()
    if not file or str(file) == os.devnull:
        return None
    if not file.exists():
        raise CommandError(f"CA_CERT_FILE={file}: there is no such file")
    try:
        load_script(ROOT / "server" / "with_secrets.py").own_certificates(file)
    except ValueError as error:
        raise CommandError(f"{error} (it is {file})") from None
    return file


def package_index(settings: Settings) -> dict[str, str]:
    """Return the variables that make pip and uv use ``PACKAGE_INDEX_URL``; none if it is unset.

    Raises:
        CommandError: It is not an address. The message does not show it, since it may contain a login.
    """
    url = settings.get("PACKAGE_INDEX_URL").strip()
    if url and not re.fullmatch(r"https?://[^/\s]+\S*", url):
        raise CommandError(
            "PACKAGE_INDEX_URL is not an address; it looks like https://USER:TOKEN@packages.example.com/simple"
        )
    return dict.fromkeys(("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), url) if url else {}


@contextmanager
def trusting(settings: Settings, python: Path) -> Generator[dict[str, str]]:
    """Yield the variables that make pip and uv trust ``CA_CERT_FILE`` in addition to the usual roots.

    Args:
        settings: Where ``CA_CERT_FILE`` is read from.
        python: A Python with pip, which brings roots for a system that has none.

    Raises:
        CommandError: There is no such file, or no certificate in it.
    """
    own = own_certificate(settings)
    if not own:
        yield {}
        return
    with TemporaryDirectory() as folder:
        bundle = Path(folder, "certificates.pem")
        bundle.write_bytes(_usual_roots(python).read_bytes() + b"\n" + own.read_bytes())
        # For uv, for pip, and because pip looks there first if the user has set it.
        yield dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), str(bundle))


def _usual_roots(python: Path) -> Path:
    script = load_script(ROOT / "server" / "with_secrets.py")
    known = [ssl.get_default_verify_paths().cafile, *script.SYSTEM_BUNDLES]
    found = next((file for file in known if file and Path(file).is_file()), None)
    if found:
        return Path(found)
    return Path(subprocess.check_output([python, "-m", "pip._vendor.certifi"], text=True).strip())
