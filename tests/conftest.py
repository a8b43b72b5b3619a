"""What every test shares: hypothesis profiles, and that none leaves the process a real-time one.

Fixtures live beside the tests that use them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.scheduling import leave_real_time, real_time_threads

# Two workers share two cores, so a deadline per example would only measure the neighbours.
settings.register_profile(
    "default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True, scope="module")
def _ordinary_priority() -> Iterator[None]:
    """A module that leaves this process a real-time one would starve all that come after it."""
    yield
    threads = real_time_threads()
    leave_real_time()
    assert threads == [], "call tests.support.scheduling.leave_real_time behind SVT-AV1"
