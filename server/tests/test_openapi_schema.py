"""The page that describes the API is generated once, and again if that failed."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from openapi_schema import openapi_route
from starlette.requests import Request


def test_a_failure_is_not_kept_and_the_schema_is() -> None:
    application = FastAPI()
    generate, calls = application.openapi, list[int]()

    def fail_once() -> dict[str, Any]:
        calls.append(len(calls))
        if len(calls) == 1:
            raise MemoryError
        return generate()

    application.openapi = fail_once  # type: ignore[method-assign]
    page: Any = openapi_route(application).endpoint
    request = Request({"type": "http"})

    async def ask() -> None:
        with pytest.raises(MemoryError):
            await page(request)
        answers = [await page(request), await page(request)]
        assert {answer.body for answer in answers} == {answers[0].body}
        assert b'"openapi"' in answers[0].body

    asyncio.run(ask())
    assert len(calls) == 2
