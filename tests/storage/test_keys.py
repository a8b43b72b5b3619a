"""Stream keys and API tokens: made and digested."""

from __future__ import annotations

import re

import pytest

from storage.keys import digest, new_secret

pytestmark = pytest.mark.unit


def test_secrets_are_random_and_safe_in_a_url() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", secret) for secret in secrets)


def test_the_digest_is_sha_256_in_hex() -> None:
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
