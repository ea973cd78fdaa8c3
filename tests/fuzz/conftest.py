"""Bad input by the thousand, at every door that strangers can knock at.

A run of all tests takes the profile "quick": the same few hundred inputs for each door, every time.
This takes 10,000 new ones for each test, for hours:

    python -m pytest tests/fuzz --hypothesis-profile=long --timeout=0 --hypothesis-show-statistics
"""

import resource
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

_SHARED = {
    "deadline": None,  # the tests' own clock says how long an answer may take
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("quick", max_examples=200, derandomize=True, **_SHARED)
settings.register_profile("long", max_examples=10_000, database=None, **_SHARED)
if settings.get_current_profile_name() != "long":
    settings.load_profile("quick")

MOST_GROWTH_BYTES = 1500 * 2**20


@pytest.fixture(autouse=True, scope="module")
def memory_is_bounded() -> Iterator[None]:
    """Whatever was sent to a door, this process's peak did not grow by more than the bound."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb * 1024 < MOST_GROWTH_BYTES
