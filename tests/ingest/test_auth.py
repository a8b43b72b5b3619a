"""Stream keys, found by their digests."""

from __future__ import annotations

import pytest

from ingest.auth import REFUSED_TEXT, ConfiguredKeys, authorize
from ingest.source import Grant, KeyRefused, Role
from storage.streams import KeyOwner

pytestmark = pytest.mark.component


async def test_a_key_names_its_stream_in_the_first_store_that_knows_it() -> None:
    first = ConfiguredKeys([(KeyOwner(stream="a"), "key-a")])
    second = ConfiguredKeys(
        [
            (KeyOwner(stream="b"), "key-b"),
            (KeyOwner(stream="c"), "key-a"),
            (KeyOwner(stream="b", backup=True), "key-bb"),
        ]
    )
    assert await authorize("key-a", first, second) == Grant(stream="a")
    assert await authorize("key-b", first, second) == Grant(stream="b", role=Role.PRIMARY)
    assert await authorize("key-bb", first, second) == Grant(stream="b", role=Role.BACKUP)


@pytest.mark.parametrize("key", ["", "nope", "KEY-A", "k" * 10_000, "\ud800"])
async def test_other_keys_are_refused_with_one_sentence(key: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        await authorize(key, ConfiguredKeys([(KeyOwner(stream="a"), "key-a")]))
    assert str(caught.value) == REFUSED_TEXT


def test_clear_keys_are_not_kept() -> None:
    assert "key-a" not in repr(vars(ConfiguredKeys([(KeyOwner(stream="a"), "key-a")])))
