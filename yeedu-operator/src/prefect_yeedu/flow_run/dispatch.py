"""The one place that takes Prefect's way of joining a method and its async twin, which is not public."""

from prefect._internal.compatibility.async_dispatch import async_dispatch

__all__ = ["async_dispatch"]
