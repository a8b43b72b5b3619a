"""The OpenAPI document: valid, and exactly the routes that exist."""

from __future__ import annotations

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

pytestmark = pytest.mark.component


async def test_it_is_valid_and_complete(site):
    async with site.get("/openapi.json") as response:
        document = await response.json()
    assert document["openapi"].startswith("3.1")
    errors = [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()]
    assert not errors
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    served = {
        (route.method, re.sub(r":[^}]*", "", route.resource.canonical))
        for route in site.app.router.routes()
        if route.method not in {"HEAD", "OPTIONS"}
    }
    assert described == served
    ids = [op["operationId"] for ops in document["paths"].values() for op in ops.values()]
    assert len(ids) == len(set(ids))


async def test_references_and_security(site):
    async with site.get("/openapi.json") as response:
        document = await response.json()
    text = await (await site.get("/openapi.json")).text()
    names = set(document["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/([^\"]+)", text)) <= names
    assert {"CueAnswer", "ProblemDetails", "PinCue", "Product"} <= names
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == path.startswith("/api/")


async def test_the_reference_page_needs_nobody_else(site):
    async with site.get("/docs") as response:
        page = await response.text()
        assert "script-src" not in response.headers["Content-Security-Policy"]
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"https?://", page)
    assert "/api/v1/streams/{stream}/cues" in page
