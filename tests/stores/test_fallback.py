"""A new store with an old one behind it, and the copying from one to the other."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import greenlet
import pytest

from litesess import ConfigError, MemoryStore, Record, Store, WALStore
from litesess.ids import key_of
from litesess.stores.copying import Copied, copy, copy_batch, is_draft
from litesess.stores.fallback import FallbackStore
from litesess.testing import FakeClock, StoreContract
from tests.tools.apps import Site

KEY, OTHER = key_of("first"), key_of("second")
SEED = int(os.environ.get("LITESESS_SEED", "20"))
#: How many orders of three actors are tried of those there are, each; of two, every one.
EVERY_ORDER = "LITESESS_EVERY_ORDER" in os.environ
ORDERS = int(os.environ.get("LITESESS_ORDERS", "40"))


class TestFallbackStore(StoreContract):
    def make_store(self, clock: FakeClock) -> Store:
        return FallbackStore(MemoryStore(clock=clock), MemoryStore(clock=clock))


class TestFallbackStoreWhoseSessionsAreInTheOldOne(StoreContract):
    def make_store(self, clock: FakeClock) -> Store:
        self.old = MemoryStore(clock=clock)
        return FallbackStore(MemoryStore(clock=clock), self.old)

    def put(self, key: str = KEY, data: dict[str, Any] | None = None, **fields: Any) -> Record:
        # Under a key that is free in both.
        if self.store.load(key) is None:
            assert self.old.create(key, self.record(data, **fields))
        return self.get(key)


class TestFallbackStoreWhoseSessionsAreInBoth(TestFallbackStoreWhoseSessionsAreInTheOldOne):
    def make_store(self, clock: FakeClock) -> Store:
        self.old, self.new = MemoryStore(clock=clock), MemoryStore(clock=clock)
        return FallbackStore(self.new, self.old)

    def put(self, key: str = KEY, data: dict[str, Any] | None = None, **fields: Any) -> Record:
        if self.store.load(key) is None:
            assert self.old.create(key, self.record(data, **fields))
            assert copy(self.old, self.new, key) is Copied.NOW
        return self.get(key)

    def test_collecting_removes_what_has_expired_and_nothing_else(self) -> None:
        self.put(KEY)
        self.put(OTHER, expires_at=self.clock() + 200)
        self.clock.advance(100)
        assert self.store.collect() == 2  # the original and its copy
        assert self.store.load(OTHER) is not None


@pytest.fixture
def old(clock):
    return MemoryStore(clock=clock, gc_interval=60)


@pytest.fixture
def new(clock, tmp_path):
    with WALStore(tmp_path / "data", clock=clock) as store:
        yield store


@pytest.fixture
def both(new, old):
    return FallbackStore(new, old)


def put(store, clock, key=KEY, owner=None, **data):
    assert store.create(key, Record(data, clock(), clock() + 100, owner=owner))


class TestMoving:
    def test_a_session_that_is_used_moves(self, both, new, old, clock):
        put(old, clock, user="ada")
        assert both.load(KEY).data == {"user": "ada"}
        assert new.load(KEY).data == {"user": "ada"}
        assert old.load(KEY) is None

    def test_nothing_of_it_changes(self, both, old, clock):
        client = {"user_agent": "Lynx"}
        put_at = clock()
        record = Record(
            {"n": 1}, put_at - 50, put_at + 100, {"max_age": 100.0}, "7", client=client,
            last_seen_at=put_at - 20,
        )  # fmt: skip
        assert old.create(KEY, record)
        clock.advance(30)
        moved = both.load(KEY)
        for name in ("created_at", "expires_at", "cookie", "owner", "client", "last_seen_at"):
            assert getattr(moved, name) == getattr(record, name), name

    def test_new_sessions_begin_in_the_new_store(self, both, new, old, clock):
        put(both, clock)
        assert (len(new), len(old)) == (1, 0)

    def test_a_key_that_the_old_store_has_is_taken(self, both, old, clock):
        put(old, clock, n=1)
        assert not both.create(KEY, Record({"n": 2}, clock(), clock() + 100))
        assert both.load(KEY).data == {"n": 1}

    def test_sessions_are_found_and_listed_in_both(self, both, new, old, clock):
        put(old, clock, KEY, owner="7")
        put(new, clock, OTHER, owner="7")
        assert (
            {key for key, _ in both.find("7")} == {key for key, _ in both.records()} == {KEY, OTHER}
        )
        assert len(both) == 2
        assert both.locate(KEY[:16]) == KEY

    def test_an_owner_is_logged_out_of_both(self, both, new, old, clock):
        for store, key in ((old, KEY), (new, OTHER)):
            put(store, clock, key, owner="7")
        assert both.delete_owner("7") == 2
        assert (len(new), len(old)) == (0, 0)

    def test_the_session_of_a_request_that_has_not_read_it_is_kept(self, both, old, clock):
        site = Site(both, clock=clock)
        browsers = [site.new_browser() for _ in range(3)]
        for browser in browsers:
            site.visit(lambda s: setattr(s, "owner", 7), by=browser)
        for key, record in both.find(7)[1:]:  # as if the old one had them still
            assert old.create(key, record)
            both._new.delete(key)
        assert site.visit(lambda s: both.delete_owner(7, keep=[s]), by=browsers[1]).value == 2
        seen = [site.visit(lambda s: s.owner, by=browser).value for browser in browsers]
        assert seen == [None, "7", None]

    def test_a_session_kept_by_its_old_id_is_kept_in_the_new_store(self, both, old, clock):
        put(old, clock, KEY, owner="7")
        put(old, clock, OTHER, owner="7")
        both.rotate(KEY, key_of("third"), {}, ())
        assert both.delete_owner("7", keep=[KEY]) == 1
        assert [key for key, _ in both.find("7")] == [key_of("third")]

    def test_a_life_made_shorter_is_not_made_longer_by_the_original(self, both, new, old, clock):
        put(old, clock)
        assert copy(old, new, KEY) is Copied.NOW
        both.update(KEY, {}, [], expires_at=clock() + 10)
        clock.advance(20)
        assert both.load(KEY) is None

    def test_events_tell_of_what_happens_and_not_of_moves(self, both, old, clock):
        told = []
        put(old, clock)
        both.listeners.append(lambda event: told.append(event.name))
        both.load(KEY)
        both.update(KEY, {"n": 1}, [])
        assert told == []
        both.delete(KEY)
        put(both, clock, OTHER)
        assert told == ["destroyed", "created"]

    def test_the_settings_are_those_of_the_new_store(self, both, new):
        assert (both.ttl, both.touch_interval) == (new.ttl, new.touch_interval)
        assert both.gc_interval == 60  # whichever wants to be collected more often

    def test_what_is_no_pair_of_stores_is_refused(self, new):
        with pytest.raises(ConfigError, match="old is of type str"):
            FallbackStore(new, "data")
        with pytest.raises(ConfigError, match="same"):
            FallbackStore(new, new)

    def test_closing_closes_both(self, both, new, old, clock):
        both.close()
        for store in (new, old):
            with pytest.raises(Exception, match="closed"):
                store.load(KEY)


class TestCopying:
    def test_the_original_stays(self, old, new, clock):
        put(old, clock, n=1)
        assert copy(old, new, KEY) is Copied.NOW
        assert copy(old, new, KEY) is Copied.BEFORE
        assert copy(old, new, OTHER) is Copied.GONE
        assert old.load(KEY).data == new.load(KEY).data == {"n": 1}

    def test_what_was_stopped_is_finished(self, old, new, clock):
        put(old, clock, n=1)
        with pytest.raises(Stopped):
            copy(old, Stopping(new, "update"), KEY)
        assert is_draft(new.load(KEY))
        assert copy(old, new, KEY) is Copied.NOW
        assert not is_draft(new.load(KEY))

    def test_what_was_stopped_is_finished_by_whoever_uses_it(self, old, new, clock):
        put(old, clock, n=1)
        with pytest.raises(Stopped):
            copy(old, Stopping(new, "update"), KEY)
        assert FallbackStore(new, old).load(KEY).data == {"n": 1}
        assert copy(old, new, KEY) is Copied.GONE
        assert new.load(KEY).data == {"n": 1}

    def test_what_was_stopped_is_made_anew_of_an_original_that_has_changed(self, old, new, clock):
        put(old, clock, n=1)
        with pytest.raises(Stopped):
            copy(old, Stopping(new, "update"), KEY)
        old.update(KEY, {"n": 2}, [])
        assert copy(old, new, KEY) is Copied.NOW
        assert new.load(KEY).data == {"n": 2}

    def test_a_draft_whose_original_has_ended_is_nobodys(self, old, new, clock):
        put(old, clock, n=1, owner="7")
        with pytest.raises(Stopped):
            copy(old, Stopping(new, "update"), KEY)
        old.delete(KEY)
        both = FallbackStore(new, old)
        assert both.load(KEY) is None
        assert (both.find("7"), [*both.records()]) == ([], [])


class Stopped(Exception):
    """What ends a copying in the midst of it."""


class Stopping:
    """A store before an operation of which the process is killed."""

    def __init__(self, store, operation):
        self._store, self._operation = store, operation

    def __getattr__(self, name):
        if name == self._operation:
            raise Stopped
        return getattr(self._store, name)


class Shared:
    """A store each of whose operations is a step: another actor may come first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute) or name == "clock":
            return attribute

        def step(*arguments: Any, **options: Any) -> Any:
            if greenlet.getcurrent().parent is not None:
                greenlet.getcurrent().parent.switch()
            return attribute(*arguments, **options)

        return step


class World:
    """Two stores with one session in the old one, and what the actors were told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.old = MemoryStore(clock=self.clock)
        self.new = MemoryStore(clock=self.clock)
        self.both = FallbackStore(self.new, self.old)
        # The steps are those of the stores behind it.
        self.both._new, self.both._old = Shared(self.new), Shared(self.old)
        put(self.old, self.clock, n=0, owner="7")
        self.is_ended = False
        self.key = KEY
        self.expected = {"n": 0}

    def copy(self) -> None:
        copy(self.both._old, self.both._new, KEY)

    def copy_batch(self) -> None:
        original = self.both._old.load(KEY)
        if original is not None:
            copy_batch(self.both._old, self.both._new, [(KEY, original)])

    def update(self) -> None:
        if self.both.update(KEY, {"a": 1}, []) is not None:
            self.expected["a"] = 1

    def rotate(self) -> None:
        if self.both.rotate(KEY, OTHER, {"r": 1}, []) is not None:
            self.key = OTHER
            self.expected["r"] = 1

    def log_out(self) -> None:
        self.both.delete(KEY)
        self.is_ended = True

    def log_out_everywhere(self) -> None:
        self.both.delete_owner("7")
        self.is_ended = True

    def look(self) -> None:
        is_ended, is_moved = self.is_ended, self.key != KEY
        record = self.both.load(KEY)
        if is_ended or is_moved:
            assert record is None, "what has ended, or moved on, was loaded"
        elif record is not None:
            assert record.data["n"] == 0
            assert not is_draft(record)

    def expire(self) -> None:
        self.clock.advance(200)
        self.is_ended = True

    def check(self) -> None:
        """Look at the end, as the app does, and as it will when the new store is alone."""
        self.both._new, self.both._old = self.new, self.old
        sweep(self.old, self.new)
        for store in (self.both, self.new):
            if self.is_ended:
                assert [*store.records()] == []
                assert store.load(KEY) is store.load(OTHER) is None
            elif store is self.both or self.key != KEY or self.old.load(KEY) is None:
                ((key, record),) = store.records()
                assert (key, record.data) == (self.key, self.expected)


def sweep(old: Store, new: Store) -> None:
    """Do what a copying does at its end: no draft is left."""
    for key, record in [*new.records()]:
        if is_draft(record):
            copy(old, new, key)
            found = new.load(key)
            if found is not None and is_draft(found):
                new.delete(key)


def run(names: tuple[str, ...], choose: Callable[[list[int]], int]) -> list[int]:
    """Let the actors take steps in the order that is chosen; return how many could, at each."""
    world = World()
    actors = [greenlet.greenlet(getattr(world, name)) for name in names]
    order: list[int] = []
    while ready := [at for at, actor in enumerate(actors) if not actor.dead]:
        at = choose(ready)
        order.append(at)
        try:
            actors[at].switch()
        except AssertionError as error:
            raise AssertionError(f"{names} in the order {order}: {error}") from error
    try:
        world.check()
    except AssertionError as error:
        raise AssertionError(f"{names} in the order {order}: {error}") from error
    return order


def every_order(names: tuple[str, ...]) -> int:
    """Run the actors in every order there is, depth first; return how many there are."""
    pending: list[list[int]] = [[]]
    runs = 0
    while pending:
        begin = pending.pop()
        choices: list[list[int]] = []

        def choose(
            ready: list[int], begin: list[int] = begin, choices: list[list[int]] = choices
        ) -> int:
            choices.append(ready)
            at = len(choices) - 1
            return begin[at] if at < len(begin) else ready[0]

        order = run(names, choose)
        runs += 1
        for at in range(len(begin), len(order)):
            pending += [[*order[:at], other] for other in choices[at] if other != order[at]]
    return runs


COPYING = ("copy", "copy_batch")
ACTORS = ("update", "rotate", "log_out", "log_out_everywhere", "look", "expire")


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTORS)
@pytest.mark.parametrize("how", ["copy", pytest.param("copy_batch", marks=pytest.mark.long)])
def test_a_copying_and_one_request_in_every_order(how, name):
    runs = every_order((how, name))
    assert runs >= 5


def orders() -> Iterator[tuple[str, str]]:
    yield from itertools.combinations(ACTORS, 2)
    yield from ((name, name) for name in ("update", "look"))


@pytest.mark.parametrize("names", [*orders()])
@pytest.mark.parametrize("how", COPYING)
def test_a_copying_and_two_requests_in_many_orders(how, names):
    chance = random.Random(f"{SEED} {how} {names}")
    print("seed", SEED)
    for _ in range(ORDERS):
        run((how, *names), chance.choice)


@pytest.mark.parametrize("names", [*orders()])
def test_two_requests_in_many_orders_or_in_every_one(names):
    if EVERY_ORDER:
        assert every_order(names) >= 5  # one that has a step or two, beside another
        return
    chance = random.Random(f"{SEED} {names}")
    print("seed", SEED)
    for _ in range(5 * ORDERS):
        run(names, chance.choice)


def test_two_copyings_and_a_logout_in_many_orders():
    chance = random.Random(SEED)
    for _ in range(ORDERS):
        run(("copy", "copy_batch", "log_out", "look"), chance.choice)
