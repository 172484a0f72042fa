"""Blocks of packages without type hints, made by the names that users know them by."""

from typing import Any

from prefect.blocks.core import Block


def save_block(kind: str, name: str, **fields: Any) -> Any:
    """Make and save a block, over one of that name, and return it.

    Args:
        kind: The slug of its type, such as `gcs-bucket`.
        name: Its name.
        fields: What it holds.
    """
    made: Any = Block.get_block_class_from_key(kind).model_validate(fields)
    made.save(name, overwrite=True)
    return made
