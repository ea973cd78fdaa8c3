import pytest

from groupcam.ui.cache import ByteBoundedCache


@pytest.fixture
def cache() -> ByteBoundedCache[str]:
    return ByteBoundedCache(max_bytes=10)


def test_a_value_is_found_under_its_key(cache: ByteBoundedCache[str]) -> None:
    cache.put("a", "first", 4)

    assert cache.get("a") == "first"
    assert cache.get("b") is None


def test_values_that_fit_are_all_kept(cache: ByteBoundedCache[str]) -> None:
    cache.put("a", "first", 4)
    cache.put("b", "second", 6)

    assert (cache.get("a"), cache.get("b")) == ("first", "second")


def test_a_value_is_found_by_what_it_is_and_counts_as_used(cache: ByteBoundedCache[str]) -> None:
    cache.put("a", "first", 4)
    cache.put("b", "second", 4)

    assert cache.find(lambda value: value.startswith("f")) == "first"
    assert cache.find(lambda value: value == "third") is None
    cache.put("c", "third", 4)

    assert (cache.get("a"), cache.get("b")) == ("first", None)


def test_the_value_not_used_for_longest_goes_first(cache: ByteBoundedCache[str]) -> None:
    cache.put("a", "first", 4)
    cache.put("b", "second", 4)

    cache.get("a")
    cache.put("c", "third", 4)

    assert [cache.get(key) for key in "abc"] == ["first", None, "third"]


def test_a_large_value_drives_out_all_others_and_stays(cache: ByteBoundedCache[str]) -> None:
    cache.put("a", "first", 4)
    cache.put("b", "second", 4)

    cache.put("c", "third", 99)

    assert [cache.get(key) for key in "abc"] == [None, None, "third"]


def test_a_value_put_again_counts_once(cache: ByteBoundedCache[str]) -> None:
    cache.put("a", "first", 6)
    cache.put("a", "again", 6)
    cache.put("b", "second", 4)

    assert (cache.get("a"), cache.get("b")) == ("again", "second")
