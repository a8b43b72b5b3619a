"""The catalogue: products that pins and hotspots name by SKU."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import delete, func, insert, select

from storage.schema import products

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from storage.database import Database

MAX_IMPORT = 5000
_CHUNK = 500
"""SKUs in one query: below every database's limit of bound parameters."""

Sku = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Line = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=300)]
Language = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")
]
Title = Line | Annotated[dict[Language, Line], Field(min_length=1, max_length=20)]
Link = Annotated[
    str, StringConstraints(strict=True, max_length=1000, pattern=r"^(https?://[^\s]+|/[^\s]*)$")
]


class Price(BaseModel):
    """An amount of money, exactly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount: Annotated[int, Field(strict=True, ge=0, le=10**15)]
    """Minor units of ISO 4217: 1999 EUR is 19.99 euro, 1999 JPY is 1999 yen."""
    currency: Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z]{3}$")]
    """ISO 4217 code."""


class ProductBody(BaseModel):
    """A product without its SKU, as `PUT /products/SKU` takes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Title
    """One text for everybody, or one per language tag (BCP 47)."""
    price: Price
    image: Link | None = None
    url: Link | None = None


class Product(ProductBody):
    """A product."""

    sku: Sku


Objects: TypeAlias = "list[Product]"
# `Catalog.list` takes the builtin's name inside the class.


class Catalog:
    """Products by SKU. Every method raises `storage.database.DatabaseUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, product: Product) -> bool:
        """Store a product, replacing one of the same SKU; True where it is new."""
        return await self.import_many([product]) == 1

    async def import_many(self, batch: Sequence[Product]) -> int:
        """Store products, all or none; of one SKU the last holds. Return how many are new."""
        by_sku = {product.sku: product for product in batch}
        now_ms = time.time_ns() // 1_000_000
        async with self._database.write() as connection:
            known = await _known(connection, by_sku)
            for chunk in _chunks(sorted(known)):
                await connection.execute(delete(products).where(products.c.sku.in_(chunk)))
            if by_sku:
                await connection.execute(
                    insert(products), [_values(product, now_ms) for product in by_sku.values()]
                )
        return len(by_sku) - len(known)

    async def get(self, sku: str) -> Product | None:
        """Return a product, or None."""
        async with self._database.read() as connection:
            query = select(products).where(products.c.sku == sku)
            row = (await connection.execute(query)).first()
        return None if row is None else _product(row)

    async def get_many(self, skus: Collection[str]) -> Objects:
        """Return those products of `skus` that there are, in their order."""
        wanted = list(dict.fromkeys(skus))
        found: dict[str, Product] = {}
        async with self._database.read() as connection:
            for chunk in _chunks(wanted):
                query = select(products).where(products.c.sku.in_(chunk))
                found |= {row.sku: _product(row) for row in await connection.execute(query)}
        return [found[sku] for sku in wanted if sku in found]

    async def delete(self, sku: str) -> bool:
        """Remove a product; False where there was none. Cues that name it keep their text."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(products).where(products.c.sku == sku))
        return bool(gone.rowcount)

    async def list(self, *, after: str = "", limit: int = 1000) -> list[Product]:
        """Return products by SKU, those after `after`."""
        query = select(products).where(products.c.sku > after).order_by(products.c.sku).limit(limit)
        async with self._database.read() as connection:
            return [_product(row) for row in await connection.execute(query)]

    async def count(self) -> int:
        """Return how many products there are."""
        async with self._database.read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(products)) or 0)

    async def has(self, sku: str) -> bool:
        """Whether the catalogue holds this SKU."""
        return not await self.missing([sku])

    async def missing(self, skus: Collection[str]) -> set[str]:
        """Return those of `skus` that the catalogue does not hold."""
        async with self._database.read() as connection:
            return set(skus) - await _known(connection, skus)


async def _known(connection: AsyncConnection, skus: Collection[str]) -> set[str]:
    found: set[str] = set()
    for chunk in _chunks(sorted(skus)):
        query = select(products.c.sku).where(products.c.sku.in_(chunk))
        found.update((await connection.execute(query)).scalars())
    return found


def _chunks(skus: list[str]) -> list[list[str]]:
    return [skus[start : start + _CHUNK] for start in range(0, len(skus), _CHUNK)]


def _values(product: Product, now_ms: int) -> dict[str, Any]:
    return {
        "sku": product.sku,
        "title": json.dumps(product.title, ensure_ascii=False),
        "amount": product.price.amount,
        "currency": product.price.currency,
        "image": product.image,
        "url": product.url,
        "updated_at_ms": now_ms,
    }


def _product(row: Row[Any]) -> Product:
    return Product(
        sku=row.sku,
        title=json.loads(row.title),
        price=Price(amount=row.amount, currency=row.currency),
        image=row.image,
        url=row.url,
    )
