import asyncio

import pytest
from fakes.clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.ttl_cache import TtlCache


async def test_an_entry_is_found_until_it_expires():
    """It is gone from exactly `ttl_s` seconds on."""
    clock = FakeClock()
    cache = TtlCache[str, int](clock, ttl_s=300, max_entries=10)
    cache.put("a", 1)

    await clock.advance(299)
    assert cache.get("a") == 1
    await clock.advance(1)

    assert cache.get("a") is None
    assert len(cache) == 0


async def test_put_renews_an_entry():
    """The age of an entry counts from its last `put`."""
    clock = FakeClock()
    cache = TtlCache[str, int](clock, ttl_s=300, max_entries=10)
    cache.put("a", 1)
    cache.put("b", 2)
    await clock.advance(200)
    cache.put("a", 3)

    await clock.advance(200)

    assert [(item.key, item.value, item.age_s) for item in cache.items()] == [("a", 3, 200.0)]


def test_a_full_cache_drops_the_oldest_entry():
    """The age counts from the last `put`, not from the last `get`."""
    cache = TtlCache[str, int](FakeClock(), ttl_s=300, max_entries=2)

    for number, key in enumerate("abac"):
        cache.put(key, number)

    assert list(cache) == ["a", "c"]


def test_hits_and_misses_are_counted():
    """Only `get` counts, and the counts survive `clear`."""
    cache = TtlCache[str, int](FakeClock(), ttl_s=300, max_entries=2)
    cache.put("a", 1)
    cache.get("a")
    cache.get("b")
    cache.items()
    cache.clear()

    assert (cache.hits, cache.misses, len(cache)) == (1, 1, 0)


def test_a_discarded_key_is_gone():
    """Discarding an unknown key raises nothing."""
    cache = TtlCache[str, int](FakeClock(), ttl_s=300, max_entries=2)
    cache.put("a", 1)
    cache.put("b", 2)

    cache.discard("a")
    cache.discard("never there")

    assert list(cache) == ["b"]


@pytest.mark.parametrize(("ttl_s", "max_entries"), [(0, 1), (1, 0)])
def test_a_cache_without_time_or_capacity_is_refused(ttl_s, max_entries):
    """Such a setting would disable the cache silently."""
    with pytest.raises(ValueError, match="room for one entry"):
        TtlCache(FakeClock(), ttl_s, max_entries)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 6)),
        st.tuples(st.just("get"), st.integers(0, 6)),
        st.tuples(st.just("discard"), st.integers(0, 6)),
        st.tuples(st.just("wait"), st.integers(1, 6)),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 4))
def test_it_agrees_with_a_plain_model(steps, max_entries):
    """It is never over its bound, returns no expired value and drops a live one only for room."""

    async def play():
        clock = FakeClock()
        clock.settle = lambda: asyncio.sleep(0)
        cache = TtlCache[int, int](clock, ttl_s=5, max_entries=max_entries)
        model: dict[int, tuple[float, int]] = {}
        for number, (step, value) in enumerate(steps):
            now = clock.monotonic()
            model = {key: entry for key, entry in model.items() if now - entry[0] < 5}
            if step == "put":
                model.pop(value, None)
                model[value] = (now, number)
                model = dict(list(model.items())[-max_entries:])
                cache.put(value, number)
            elif step == "get":
                assert cache.get(value) == model.get(value, (0, None))[1]
            elif step == "discard":
                model.pop(value, None)
                cache.discard(value)
            else:
                await clock.advance(value)
            assert len(cache) <= max_entries
        now = clock.monotonic()
        assert [item.key for item in cache.items()] == [key for key in model if now - model[key][0] < 5]

    asyncio.run(play())
