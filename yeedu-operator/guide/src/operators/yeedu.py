"""The import path of the operator that Yeedu publishes: `from operators.yeedu import YeeduOperator`."""

from prefect_yeedu.yeedu_operator import YeeduOperator

__all__ = ["YeeduOperator"]
