def plain() -> None:
    """Do nothing."""
