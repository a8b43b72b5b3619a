"""`/api/v1/products`: the catalogue that pins and hotspots name; and what viewers see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from commerce.catalog import MAX_IMPORT, Product, ProductBody
from delivery.api.models import Imported
from delivery.api.streams import require_stream
from delivery.body import read_json, read_object
from delivery.deps import PARTS
from delivery.problems import FieldError, Problem, from_validation, invalid
from delivery.routing import Answer, Parameter, Route, Scope

if TYPE_CHECKING:
    from commerce.catalog import Catalog

IMPORT_BODIES = 16
"""An import may be this many times `limits.max_body_bytes`."""
MAX_ASKED = 50
PAGE = 500


class ProductImport(BaseModel):
    """Body of `POST /products/import`; the bare list is taken too."""

    model_config = ConfigDict(extra="forbid")

    products: list[Product] = Field(max_length=MAX_IMPORT)


class ProductList(BaseModel):
    """Products by SKU."""

    products: list[Product]


_PRODUCT: TypeAdapter[Product] = TypeAdapter(Product)
_IMPORT: TypeAdapter[ProductImport] = TypeAdapter(ProductImport)


def _catalog(request: web.Request) -> Catalog:
    return request.app[PARTS].deps.catalog


def _json(product: Product) -> dict[str, Any]:
    return product.model_dump(mode="json")


async def put_product(request: web.Request) -> web.Response:
    """`PUT /products/SKU`."""
    sku = request.match_info["sku"]
    body = await read_object(request, limit=request.app[PARTS].deps.limits.max_body_bytes)
    if body.setdefault("sku", sku) != sku:
        raise invalid([FieldError("sku", "is another one than that of the address")])
    product = _validated(_PRODUCT, body)
    new = await _catalog(request).put(product)
    return web.json_response(_json(product), status=201 if new else 200)


async def get_product(request: web.Request) -> web.Response:
    """`GET /products/SKU`."""
    product = await _catalog(request).get(request.match_info["sku"])
    if product is None:
        raise Problem(404, "The catalogue has no product of that SKU.")
    return web.json_response(_json(product))


async def list_products(request: web.Request) -> web.Response:
    """`GET /products`."""
    products = await _catalog(request).list(after=request.query.get("after", ""), limit=PAGE)
    return web.json_response({"products": [_json(product) for product in products]})


async def delete_product(request: web.Request) -> web.Response:
    """`DELETE /products/SKU`."""
    if not await _catalog(request).delete(request.match_info["sku"]):
        raise Problem(404, "The catalogue has no product of that SKU.")
    return web.Response(status=204)


async def import_products(request: web.Request) -> web.Response:
    """`POST /products/import`."""
    limit = request.app[PARTS].deps.limits.max_body_bytes * IMPORT_BODIES
    body = await read_json(request, limit=limit)
    if isinstance(body, list):
        body = {"products": body}
    batch = _validated(_IMPORT, body).products
    new = await _catalog(request).import_many(batch)
    return web.json_response({"imported": len(batch), "new": new})


async def shown_products(request: web.Request) -> web.Response:
    """`GET /live/STREAM/products.json`: what a player shows beside a pin."""
    require_stream(request)
    skus = request.query.getall("sku", [])
    if not 1 <= len(skus) <= MAX_ASKED:
        raise invalid([FieldError("sku", f"name 1 to {MAX_ASKED} products: ?sku=A&sku=B")])
    found = await _catalog(request).get_many(skus)
    return web.json_response(
        {"products": [_json(product) for product in found]},
        headers={"Cache-Control": "public, max-age=10"},
    )


def _validated(adapter: TypeAdapter[Any], body: object) -> Any:
    try:
        return adapter.validate_python(body)
    except ValidationError as error:
        raise from_validation(error) from None


_PRODUCTS = "/api/v1/products"
_PRODUCT_PATH = f"{_PRODUCTS}/{{sku}}"

ROUTES = (
    Route(
        method="GET",
        path="/live/{stream}/products.json",
        name="live_products",
        summary="Title, price and picture of products that cues name",
        handler=shown_products,
        parameters=(
            Parameter(
                name="sku",
                description=f"1 to {MAX_ASKED} of them.",
                schema={"type": "array", "items": {"type": "string"}},
            ),
        ),
        answers={200: Answer(description="Those that exist.", model=ProductList)},
        errors=(404, 422, 503),
        cross_origin=True,
    ),
    Route(
        method="GET",
        path=_PRODUCTS,
        name="list_products",
        summary="The catalogue by SKU, 500 at a time",
        handler=list_products,
        scope=Scope.PRODUCER,
        tag="products",
        parameters=(Parameter(name="after", description="Products behind this SKU."),),
        answers={200: Answer(description="Products.", model=ProductList)},
        errors=(503,),
    ),
    Route(
        method="POST",
        path=f"{_PRODUCTS}/import",
        name="import_products",
        summary="Put many products, all or none",
        handler=import_products,
        scope=Scope.PRODUCER,
        tag="products",
        body=ProductImport,
        answers={200: Answer(description="All are in the catalogue.", model=Imported)},
        errors=(503,),
    ),
    Route(
        method="PUT",
        path=_PRODUCT_PATH,
        name="put_product",
        summary="Put a product, replacing one of the same SKU",
        handler=put_product,
        scope=Scope.PRODUCER,
        tag="products",
        body=ProductBody,
        answers={
            200: Answer(description="Replaced.", model=Product),
            201: Answer(description="New.", model=Product),
        },
        errors=(503,),
    ),
    Route(
        method="GET",
        path=_PRODUCT_PATH,
        name="get_product",
        summary="One product",
        handler=get_product,
        scope=Scope.PRODUCER,
        tag="products",
        answers={200: Answer(description="The product.", model=Product)},
        errors=(404, 503),
    ),
    Route(
        method="DELETE",
        path=_PRODUCT_PATH,
        name="delete_product",
        summary="Take a product out of the catalogue",
        handler=delete_product,
        scope=Scope.PRODUCER,
        tag="products",
        answers={204: Answer(description="Gone.", content_type=None)},
        errors=(404, 503),
    ),
)
