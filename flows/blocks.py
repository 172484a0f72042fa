"""Loads blocks that parameters name, and packages that only some workers have."""

import importlib
from types import ModuleType
from typing import Any

from prefect.blocks.core import Block

# The package of each type of block that is not Prefect's own.
PACKAGES = {
    "s3-bucket": "prefect_aws",
    "gcs-bucket": "prefect_gcp",
    "gcp-credentials": "prefect_gcp",
    "sqlalchemy-connector": "prefect_sqlalchemy",
}


class BlockError(RuntimeError):
    """A block cannot be loaded; the message says why."""


class MissingPackageError(RuntimeError):
    """This worker lacks a package; the message says how to add it."""


def need(module: str, what: str, extra: str = "etl") -> ModuleType:
    """Import a module that only workers with an extra have.

    Args:
        module: The module's name.
        what: What needs it; the error's sentence begins with this.
        extra: The extra's name.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = module.replace(".", "-").replace("_", "-")
        raise MissingPackageError(
            f"{what} needs {package}: set WORKER_EXTRAS={extra}, see docs/packages.md."
        ) from None


def load_block(block: str, example: str) -> Any:
    """Load a block.

    Args:
        block: Its type and name, such as `gcs-bucket/lake`; underscores stand for dashes.
        example: A type and name that an error shows as an example.

    Raises:
        BlockError: There is no such block, or its own package cannot read it.
        MissingPackageError: Its package is not installed.
    """
    kind, slash, name = block.replace("_", "-").partition("/")
    if not (kind and slash and name):
        raise BlockError(f"{block!r} names no block; give its type and name, such as {example!r}.")
    if kind in PACKAGES:
        need(PACKAGES[kind], f"The block {block!r}")
    try:
        return Block.load(f"{kind}/{name}")
    except Exception as error:  # noqa: BLE001 - whatever a block's own package raises on loading
        raise BlockError(f"The block {block!r} cannot be loaded: {' '.join(str(error).split())}") from None
