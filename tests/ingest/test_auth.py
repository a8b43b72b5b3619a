"""Stream keys: made, digested, found."""

from __future__ import annotations

import re

import pytest

from ingest.auth import REFUSED_TEXT, ConfiguredKeys, authorize, key_digest, new_key
from ingest.source import Grant, KeyRefused, Role
from storage.streams import KeyOwner

pytestmark = pytest.mark.component


def test_keys_are_random_and_safe_in_a_url() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", key) for key in keys)


def test_the_digest_is_sha_256_in_hex() -> None:
    assert key_digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


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
