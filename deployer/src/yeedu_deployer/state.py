"""What the deployer remembers between its runs, kept on the server in a Secret block.

A Secret block is encrypted, has no size limit, and travels with the server's backup. Fingerprints of
definitions are plain hashes; of credentials only a salted slow hash is kept.
"""

import hashlib
import hmac
import json
import secrets

from prefect.client.orchestration import SyncPrefectClient
from pydantic import BaseModel, Field, ValidationError

from yeedu_deployer.applied.secret_blocks import read_secret, write_secret
from yeedu_deployer.errors import ServerError

BLOCK_NAME = "yeedu-deployer-state"
FORMAT = 1
# About 50 ms and 16 MB for each guess at a credential.
SCRYPT_COST, SCRYPT_BLOCK_SIZE, SALT_BYTES = 2**14, 8, 16


class AppliedSecret(BaseModel):
    """A salted slow hash of a credential as it was last applied."""

    salt: str
    digest: str

    @classmethod
    def of(cls, value: object) -> "AppliedSecret":
        """Hash a credential with a new salt."""
        salt = secrets.token_hex(SALT_BYTES)
        return cls(salt=salt, digest=_slow_hash(value, salt))

    def matches(self, value: object) -> bool:
        """Tell whether this is the credential that was hashed."""
        return hmac.compare_digest(self.digest, _slow_hash(value, self.salt))


class AppliedDeployment(BaseModel):
    """Fingerprints of one deployment as it was last applied.

    Attributes:
        id: The deployment on the server; another id under the same name is someone else's.
        created: Whether the deployer made it, rather than finding it.
        project: The `name` of the file that declared it.
        fields: Fingerprint of each field.
        schedules: Fingerprint of each field of each schedule, by slug.
    """

    id: str
    created: bool
    project: str = ""
    fields: dict[str, str] = Field(default_factory=dict)
    schedules: dict[str, dict[str, str]] = Field(default_factory=dict)


class AppliedAutomation(BaseModel):
    """Fingerprints of one automation as it was last applied.

    Attributes:
        id: The automation on the server.
        scope: Whose it is: the platform's alerts, or the triggers of one file's deployments.
        created: Whether the deployer made it, rather than finding it.
        fields: Fingerprint of each field.
    """

    id: str
    scope: str
    created: bool
    fields: dict[str, str] = Field(default_factory=dict)


class Memory(BaseModel):
    """Everything that was applied so far."""

    format: int = FORMAT
    deployments: dict[str, AppliedDeployment] = Field(default_factory=dict)
    pools: dict[str, dict[str, str]] = Field(default_factory=dict)
    blocks: dict[str, AppliedSecret] = Field(default_factory=dict)
    automations: dict[str, AppliedAutomation] = Field(default_factory=dict)
    block_types: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def load(cls, client: SyncPrefectClient, environment: str = "") -> "Memory":
        """Read the memory of an environment; a server that has none yet gives an empty one.

        Each environment has a block of its own, so that two of them may be applied at the same time.

        Raises:
            ServerError: It cannot be read, or a newer deployer wrote it.
        """
        name = block_name(environment)
        stored = read_secret(client, name)
        if stored is None:
            return cls()
        try:
            memory = cls.model_validate(stored)
        except ValidationError:
            raise ServerError(
                f"The Secret block {name!r} does not hold what the deployer wrote; delete it in the "
                "UI, and the next run finds out anew what is there."
            ) from None
        if memory.format != FORMAT:
            raise ServerError(
                f"The Secret block {name!r} was written by another version of the deployer "
                f"(format {memory.format}, not {FORMAT}); use that version."
            )
        return memory

    def save(self, environment: str = "") -> None:
        """Write the memory to the server."""
        write_secret(block_name(environment), self.model_dump(mode="json"))


def block_name(environment: str = "") -> str:
    """Name the Secret block that holds an environment's memory; empty is the platform itself."""
    return f"{BLOCK_NAME}-{environment}" if environment else BLOCK_NAME


def _slow_hash(value: object, salt: str) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.scrypt(
        text.encode(), salt=bytes.fromhex(salt), n=SCRYPT_COST, r=SCRYPT_BLOCK_SIZE, p=1
    ).hex()
