"""The catalogue on a real SQLite file."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from commerce.catalog import Catalog, Price, Product
from storage.database import Database, sqlite_url
from storage.migrate import upgrade

pytestmark = pytest.mark.component


@pytest.fixture
async def catalog(tmp_path):
    database = Database(sqlite_url(tmp_path / "x.sqlite3"))
    await upgrade(database)
    yield Catalog(database)
    await database.dispose()


def product(sku="A-1", **more):
    return Product(
        **{"sku": sku, "title": "Shoe", "price": {"amount": 1999, "currency": "EUR"}, **more}
    )


async def test_life(catalog):
    shoe = product(title={"en": 'Shoe "9" 👟', "ar": "حذاء"}, image="https://x/y.png", url="/p/1")
    assert await catalog.put(shoe)
    assert await catalog.get("A-1") == shoe
    assert not await catalog.put(product())
    assert (await catalog.get("A-1")).title == "Shoe"
    assert await catalog.has("A-1")
    assert await catalog.missing({"A-1", "B-1"}) == {"B-1"}
    assert await catalog.missing(set()) == set()
    assert await catalog.delete("A-1")
    assert not await catalog.delete("A-1")
    assert await catalog.get("A-1") is None


async def test_import_and_pages(catalog):
    await catalog.put(product("P-0001"))
    batch = [product(f"P-{n:04d}", title=f"T{n}") for n in range(1200)]
    assert await catalog.import_many([*batch, product("P-0000", title="last")]) == 1199
    assert await catalog.count() == 1200
    assert (await catalog.get("P-0000")).title == "last"
    assert [p.sku for p in await catalog.list(after="P-0003", limit=2)] == ["P-0004", "P-0005"]
    assert await catalog.import_many([]) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"sku": ""},
        {"sku": "a/b"},
        {"price": {"amount": 19.99, "currency": "EUR"}},
        {"price": {"amount": -1, "currency": "EUR"}},
        {"price": {"amount": 1, "currency": "eur"}},
        {"title": {}},
        {"title": {"x y": "z"}},
        {"url": "javascript:alert(1)"},
        {"colour": "red"},
    ],
)
def test_refused_products(change):
    with pytest.raises(ValidationError):
        product(**change)


def test_money_is_exact():
    assert Price(amount=10**15, currency="JPY").amount == 10**15
