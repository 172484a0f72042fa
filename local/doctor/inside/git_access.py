"""Asks git for a repository as the deployer does; `local.doctor.access` runs it where flows run.

Reads a JSON object from standard input: ``url``, ``revision``, ``token`` (empty for none). Prints a JSON
object: ``trouble`` (one sentence, or empty) and ``commit``.
"""

import json
import os
import sys

from yeedu_worker.git.addresses import Address, logins_of
from yeedu_worker.git.reasons import GitError
from yeedu_worker.git.remote import Remote


def main() -> None:
    """Ask git, and print the result."""
    asked: dict[str, str] = json.load(sys.stdin)
    try:
        address = Address.of(asked["url"])
        fields = {"access_token": asked["token"]} if asked["token"] else {}
        logins = logins_of(address, fields)
        remote = Remote(address, dict(os.environ), logins, silence_seconds=6.0)
        _, revision = remote.accepted(asked["revision"])
        told = {"trouble": "", "commit": revision.commit}
    except GitError as error:
        told = {"trouble": str(error), "commit": ""}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
