from __future__ import annotations

import pytest

from tests.overlay.stage import staged


@pytest.fixture
async def stage(tmp_path):
    async with staged(tmp_path) as made:
        yield made
