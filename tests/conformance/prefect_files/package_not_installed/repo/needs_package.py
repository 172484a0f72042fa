import a_package_that_nobody_has
from prefect import flow


@flow(name="letters", description="Writes letters.", log_prints=True)
def letters(rows: int, title: str = "none", tags: list[str] | None = None):
    """Write letters with a package.

    Args:
        rows: How many.
    """
    print(a_package_that_nobody_has.count(rows))
