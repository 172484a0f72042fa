# pyright: basic
from etl_web_to_gcs import etl_web_to_gcs
from prefect import flow


@flow()
def etl_parent_flow(
    months: list[int] = [1, 2], year: int = 2020, colour: str = "green"  # noqa: B006
):  # fmt: skip
    for month in months:
        etl_web_to_gcs(colour,year, month)  # fmt: skip


if __name__ == "__main__":
    colour = "green"
    months = [1, 2, 3]
    year = 2020
    etl_parent_flow(months, year, colour)
