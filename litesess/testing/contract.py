"""The suite that every store must pass."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from litesess.errors import ConfigTypeError, EncodeError, StoreClosed, VersionConflict
from litesess.ids import handle_of, key_of
from litesess.stores.base import MOVED_FOR, Record, Store
from litesess.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

KEY: Final = key_of("first")
OTHER: Final = key_of("second")
THIRD: Final = key_of("third")


class StoreContract(ABC):
    """The suite that every store must pass, as pytest runs it.

    A test module of yours holds all that it needs::

        class TestMyStore(StoreContract):
            def make_store(self, clock):
                return MyStore(clock=clock)

    It also tries the methods that :class:`~litesess.stores.base.Store` has a default for, such as
    ``delete_all``, which a logout calls if a request came with several sessions.
    """

    clock: FakeClock
    store: Store

    @abstractmethod
    def make_store(self, clock: FakeClock) -> Store:
        """Return a new, empty store that asks *clock* how late it is."""

    def setup_method(self) -> None:
        """Begin each test with an empty store."""
        self.clock = FakeClock()
        self.store = self.make_store(self.clock)

    def teardown_method(self) -> None:
        """Close what the test used."""
        self.store.close()

    def record(self, data: dict[str, Any] | None = None, **fields: Any) -> Record:
        """Return a record that lives for 100 seconds."""
        fields = {"created_at": self.clock(), "expires_at": self.clock() + 100, **fields}
        return Record({"user": "ada"} if data is None else data, **fields)

    def put(self, key: str = KEY, data: dict[str, Any] | None = None, **fields: Any) -> Record:
        """Create a session and return it as it is stored."""
        assert self.store.create(key, self.record(data, **fields))
        return self.get(key)

    def get(self, key: str = KEY) -> Record:
        """Return a session that must be there."""
        record = self.store.load(key)
        assert record is not None
        return record

    # load and create

    def test_a_missing_session_is_none(self) -> None:
        assert self.store.load(KEY) is None

    def test_a_created_session_is_loaded_as_it_was(self) -> None:
        record = self.record({"a": [1, {"b": None}], "": "x"}, cookie={"max_age": 5.0}, owner="7")
        assert self.store.create(KEY, record)
        loaded = self.get()
        assert loaded.data == {"a": [1, {"b": None}], "": "x"}
        assert (loaded.created_at, loaded.expires_at) == (record.created_at, record.expires_at)
        assert (loaded.cookie, loaded.owner) == ({"max_age": 5.0}, "7")

    def test_a_taken_key_is_not_created_again(self) -> None:
        self.put(data={"user": "ada"})
        assert not self.store.create(KEY, self.record({"user": "eve"}))
        assert self.get().data == {"user": "ada"}

    def test_the_key_of_an_expired_session_is_free(self) -> None:
        self.put()
        self.clock.advance(100)
        assert self.store.create(KEY, self.record({"user": "bob"}))
        assert self.get().data == {"user": "bob"}

    def test_an_empty_session_is_a_session(self) -> None:
        assert self.put(data={}).data == {}

    def test_what_is_loaded_is_the_callers_own(self) -> None:
        self.put(data={"cart": []})
        self.get().data["cart"].append(1)
        assert self.get().data == {"cart": []}

    def test_what_was_stored_does_not_follow_its_source(self) -> None:
        cart: list[int] = []
        self.put(data={"cart": cart})
        cart.append(1)
        assert self.get().data == {"cart": []}

    def test_typed_values_come_back_equal_and_of_their_type(self) -> None:
        data = {
            "datetime": datetime(2026, 1, 31, 10, tzinfo=timezone(timedelta(hours=1))),
            "date": date(2026, 1, 31),
            "decimal": Decimal("1.50"),
            "uuid": UUID(int=7),
            "bytes": b"\x00\xff",
            "tuple": (1, (2, "3")),
            "set": {1, 2},
            "numbers": {1: "one", 2: "two"},
            "tagged": {"~set": [1]},
            "text": "\u00e9\U0001f600\0",
            "big": 2**80,
        }
        loaded = self.put(data=data).data
        assert loaded == data
        assert {key: type(value) for key, value in loaded.items()} == {
            key: type(value) for key, value in data.items()
        }

    def test_a_value_that_cant_be_stored_is_named_and_nothing_is_stored(self) -> None:
        path = ""
        try:
            self.store.create(KEY, self.record({"cart": [{"price": object()}]}))
        except EncodeError as error:
            path = error.key_path
        assert path == "cart[0].price"
        assert self.store.load(KEY) is None
        self.put()

    # update

    def test_an_update_merges_by_key(self) -> None:
        self.put(data={"a": 1, "b": 2, "c": 3})
        merged = self.store.update(KEY, {"b": 20, "d": 4}, ["c"])
        assert merged is not None
        assert merged.data == self.get().data == {"a": 1, "b": 20, "d": 4}

    def test_an_update_keeps_what_it_does_not_name(self) -> None:
        before = self.put(cookie={"max_age": 5.0}, owner="7")
        self.store.update(KEY, {"a": 1}, [])
        after = self.get()
        assert after.expires_at == before.expires_at
        assert (after.created_at, after.cookie, after.owner) == (
            before.created_at,
            before.cookie,
            before.owner,
        )

    def test_an_update_that_moves_no_end_is_no_use(self) -> None:
        began_at = self.clock()
        self.put()
        self.clock.advance(10)
        self.store.update(KEY, {"a": 1}, [])
        assert self.get().last_seen_at == began_at
        self.store.update(KEY, {"a": 2}, [], expires_at=self.clock() + 100)
        assert self.get().last_seen_at == began_at + 10

    def test_an_update_sets_expiry_cookie_and_owner(self) -> None:
        self.put(cookie={"max_age": 5.0}, owner="7")
        expires_at = self.clock() + 500
        self.store.update(KEY, {}, [], expires_at=expires_at, cookie={"secure": True}, owner="8")
        record = self.get()
        assert (record.expires_at, record.cookie, record.owner) == (
            expires_at,
            {"secure": True},
            "8",
        )
        self.store.update(KEY, {}, [], cookie={}, owner=None)
        assert not self.get().cookie
        assert self.get().owner is None

    def test_removing_a_key_that_is_not_there_is_no_error(self) -> None:
        self.put(data={"a": 1})
        self.store.update(KEY, {}, ["b"])
        assert self.get().data == {"a": 1}

    def test_an_update_never_recreates(self) -> None:
        self.put()
        self.store.delete(KEY)
        assert self.store.update(KEY, {"a": 1}, []) is None
        assert self.store.load(KEY) is None

    def test_an_expired_session_is_not_updated(self) -> None:
        self.put()
        self.clock.advance(100)
        assert self.store.update(KEY, {"a": 1}, [], expires_at=self.clock() + 100) is None
        assert self.store.load(KEY) is None

    def test_an_update_changes_the_version(self) -> None:
        before = self.put()
        merged = self.store.update(KEY, {"a": 1}, [])
        assert merged is not None
        assert merged.version == self.get().version != before.version

    def test_an_update_of_another_version_is_a_conflict(self) -> None:
        before = self.put(data={"n": 1})
        assert self.store.update(KEY, {"n": 2}, [], if_version=before.version)
        is_refused = False
        try:
            self.store.update(KEY, {"n": 3}, [], if_version=before.version)
        except VersionConflict:
            is_refused = True
        assert is_refused
        assert self.get().data == {"n": 2}

    def test_an_update_of_a_version_that_is_gone_is_none(self) -> None:
        before = self.put()
        self.store.delete(KEY)
        assert self.store.update(KEY, {"n": 3}, [], if_version=before.version) is None

    def test_an_update_that_cant_be_stored_changes_nothing(self) -> None:
        self.put(data={"a": 1})
        is_refused = False
        try:
            self.store.update(KEY, {"b": 2, "c": object()}, ["a"])
        except EncodeError:
            is_refused = True
        assert is_refused
        assert self.get().data == {"a": 1}

    def test_overlapping_updates_of_different_keys_all_win(self) -> None:
        self.put(data={})

        def write(name: str) -> None:
            for number in range(10):
                assert self.store.update(KEY, {f"{name}{number}": number}, [])

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(self.get().data) == 80

    # touch

    def test_a_touch_moves_the_expiry_and_nothing_else(self) -> None:
        before = self.put()
        assert self.store.touch(KEY, self.clock() + 200, version=before.version)
        after = self.get()
        assert after.expires_at == self.clock() + 200
        assert (after.data, after.version) == (before.data, before.version)

    def test_a_touch_never_recreates(self) -> None:
        assert not self.store.touch(KEY, self.clock() + 200)
        self.put()
        self.store.delete(KEY)
        assert not self.store.touch(KEY, self.clock() + 200)
        assert self.store.load(KEY) is None

    def test_an_expired_session_is_not_touched(self) -> None:
        self.put()
        self.clock.advance(100)
        assert not self.store.touch(KEY, self.clock() + 200)
        assert self.store.load(KEY) is None

    def test_a_touch_of_another_version_is_dropped(self) -> None:
        before = self.put()
        self.store.update(KEY, {"a": 1}, [])
        assert not self.store.touch(KEY, self.clock() + 200, version=before.version)
        assert self.get().expires_at == before.expires_at

    def test_a_touch_outlasts_the_next_update(self) -> None:
        self.put()
        self.store.touch(KEY, self.clock() + 200)
        self.store.update(KEY, {"a": 1}, [])
        assert self.get().expires_at == self.clock() + 200

    # rotate and replace

    def test_a_rotation_moves_the_session_and_merges(self) -> None:
        before = self.put(data={"a": 1, "b": 2}, owner="7")
        moved = self.store.rotate(KEY, OTHER, {"c": 3}, ["a"])
        assert moved is not None
        assert moved.data == self.get(OTHER).data == {"b": 2, "c": 3}
        assert moved.version == self.get(OTHER).version
        assert (moved.created_at, moved.owner) == (before.created_at, "7")
        assert self.store.load(KEY) is None

    def test_a_rotation_sets_expiry_cookie_and_owner(self) -> None:
        self.put()
        expires_at = self.clock() + 500
        self.store.rotate(
            KEY, OTHER, {}, [], expires_at=expires_at, cookie={"secure": True}, owner="8"
        )
        record = self.get(OTHER)
        assert (record.expires_at, record.cookie, record.owner) == (
            expires_at,
            {"secure": True},
            "8",
        )

    def test_a_session_that_is_gone_is_not_rotated(self) -> None:
        assert self.store.rotate(KEY, OTHER, {"a": 1}, []) is None
        assert self.store.load(OTHER) is None

    def test_the_old_key_is_dead_after_a_rotation(self) -> None:
        self.put()
        self.store.rotate(KEY, OTHER, {}, [])
        assert self.store.load(KEY) is None
        assert not self.store.touch(KEY, self.clock() + 200)
        assert self.store.rotate(KEY, THIRD, {"a": 1}, []) is None
        assert self.store.load(THIRD) is None
        assert [key for key, _ in self.store.records()] == [OTHER]
        assert len(self.store) == 1

    def test_the_old_key_is_not_free_for_a_while(self) -> None:
        self.put()
        self.store.rotate(KEY, OTHER, {}, [])
        assert not self.store.create(KEY, self.record())
        self.clock.advance(MOVED_FOR)
        assert self.store.create(KEY, self.record())

    def test_a_change_that_overlaps_a_rotation_is_not_lost(self) -> None:
        before = self.put(data={"a": 1, "b": 2})
        self.store.rotate(KEY, OTHER, {"b": 3}, [])
        late = self.store.update(KEY, {"c": 4}, ["a"])
        assert late is not None
        assert late.is_moved
        assert self.get(OTHER).data == {"b": 3, "c": 4}
        self.store.rotate(OTHER, THIRD, {}, [])
        late = self.store.update(KEY, {"d": 5}, [])
        assert late is not None
        assert self.get(THIRD).data == {"b": 3, "c": 4, "d": 5}
        assert self.store.update(KEY, {"e": 6}, [], if_version=before.version) is None

    def test_what_began_before_a_change_of_owner_changes_nothing_behind_it(self) -> None:
        self.put(data={"a": 1})
        self.store.rotate(KEY, OTHER, {"a": 2}, [], owner="7")
        assert self.store.update(KEY, {"a": 3}, []) is None
        assert self.get(OTHER).data == {"a": 2}
        assert self.store.delete(KEY)
        assert self.store.load(OTHER) is None

    def test_a_login_as_the_same_owner_is_a_login(self) -> None:
        self.put(data={"a": 1}, owner="7")
        self.clock.advance(10)
        moved = self.store.rotate(KEY, OTHER, {"a": 2}, [], owner="7")
        assert moved is not None
        assert moved.created_at == self.get(OTHER).created_at == self.clock()
        assert self.store.update(KEY, {"a": 3}, []) is None
        assert self.get(OTHER).data == {"a": 2}
        assert self.store.delete(KEY)
        assert self.store.load(OTHER) is None

    def test_a_logout_of_nobody_is_a_login_too(self) -> None:
        self.put(data={"a": 1})
        self.clock.advance(10)
        self.store.rotate(KEY, OTHER, {}, [], owner=None)
        assert self.get(OTHER).created_at == self.clock()
        assert self.store.update(KEY, {"a": 3}, []) is None

    def test_a_life_counted_from_before_a_rotation_is_not_taken(self) -> None:
        self.put()
        expires_at = self.clock() + 5000
        self.store.rotate(KEY, OTHER, {}, [], expires_at=expires_at)
        self.store.update(KEY, {"b": 2}, [], expires_at=self.clock() + 10)
        assert self.get(OTHER).expires_at == expires_at

    def test_a_late_change_under_the_old_key_is_a_use_of_the_session(self) -> None:
        self.put()
        self.store.rotate(KEY, OTHER, {}, [], expires_at=self.clock() + 5000)
        self.clock.advance(10)
        self.store.update(KEY, {"b": 2}, [], expires_at=self.clock() + 10)
        assert self.get(OTHER).last_seen_at == self.clock()

    def test_a_session_kept_by_its_old_key_is_kept(self) -> None:
        self.put(KEY, owner="7")
        self.put(THIRD, owner="7")
        self.store.rotate(KEY, OTHER, {}, [])
        assert self.store.delete_owner("7", keep=[KEY]) == 1
        assert self.get(OTHER).owner == "7"

    def test_a_deletion_that_overlaps_a_rotation_sticks(self) -> None:
        self.put()
        self.store.rotate(KEY, OTHER, {"a": 1}, [])
        assert self.store.delete(KEY)
        assert self.store.load(OTHER) is None
        assert self.store.update(KEY, {"b": 2}, []) is None
        assert not self.store.delete(KEY)

    def test_a_replacement_that_overlaps_a_rotation_leaves_one_session(self) -> None:
        self.put()
        self.store.rotate(KEY, OTHER, {"a": 1}, [])
        self.store.replace(KEY, THIRD, self.record({"b": 2}))
        assert [key for key, _ in self.store.records()] == [THIRD]

    def test_what_comes_long_after_a_rotation_is_dropped(self) -> None:
        self.put()
        self.store.rotate(KEY, OTHER, {}, [])
        self.clock.advance(MOVED_FOR)
        assert self.store.update(KEY, {"a": 1}, []) is None
        assert not self.store.delete(KEY)
        self.store.collect()
        assert [key for key, _ in self.store.records()] == [OTHER]

    def test_another_owner_makes_a_session_begin_anew(self) -> None:
        before = self.put(owner="7")
        self.clock.advance(10)
        same = self.store.update(KEY, {"a": 1}, [], owner="7")
        assert same is not None
        assert same.created_at == before.created_at
        another = self.store.rotate(KEY, OTHER, {}, [], owner="8")
        assert another is not None
        assert another.created_at == self.get(OTHER).created_at == self.clock()

    def test_a_replacement_takes_the_place_of_the_old_session(self) -> None:
        self.put(data={"a": 1})
        self.store.replace(KEY, OTHER, self.record({"b": 2}))
        assert self.store.load(KEY) is None
        assert self.get(OTHER).data == {"b": 2}

    def test_a_replacement_needs_no_old_session(self) -> None:
        self.store.replace(KEY, OTHER, self.record({"b": 2}))
        assert self.get(OTHER).data == {"b": 2}

    def test_what_comes_late_to_a_session_that_was_replaced_is_dropped_but_a_deletion(self) -> None:
        self.put(KEY, {"a": 1}, owner="7")
        self.store.replace(KEY, OTHER, self.record({"b": 2}, owner="8"))
        assert self.store.update(KEY, {"a": 2}, [], expires_at=self.clock() + 500) is None
        assert not self.store.touch(KEY, self.clock() + 500)
        assert self.store.rotate(KEY, THIRD, {"a": 2}, []) is None
        late = self.get(OTHER)
        assert (late.data, late.owner, late.expires_at) == ({"b": 2}, "8", self.clock() + 100)
        assert self.store.delete(KEY)
        assert self.store.load(OTHER) is None
        assert not self.store.delete(KEY)

    def test_a_deletion_reaches_a_replacement_through_each_former_key(self) -> None:
        for first in KEY, OTHER:
            self.put()
            self.store.rotate(KEY, OTHER, {}, [])
            self.store.replace(KEY, THIRD, self.record({"b": 2}))
            for former in KEY, OTHER:
                assert self.store.update(former, {"a": 1}, []) is None
            assert self.get(THIRD).data == {"b": 2}
            assert self.store.delete(first)
            assert self.store.load(THIRD) is None
            self.clock.advance(MOVED_FOR)

    def test_of_two_replacements_of_one_session_the_later_one_is_left(self) -> None:
        self.put()
        self.store.replace(KEY, OTHER, self.record({"b": 2}))
        self.store.replace(KEY, THIRD, self.record({"c": 3}))
        assert [key for key, _ in self.store.records()] == [THIRD]
        assert self.store.delete(OTHER)
        assert self.store.load(THIRD) is None

    def test_a_replacement_of_a_session_that_is_gone_has_nothing_to_do_with_it(self) -> None:
        self.put()
        self.store.delete(KEY)
        self.store.replace(KEY, OTHER, self.record({"b": 2}))
        assert not self.store.delete(KEY)
        assert self.get(OTHER).data == {"b": 2}

    def test_what_comes_long_after_a_replacement_reaches_nothing(self) -> None:
        self.put()
        self.store.replace(KEY, OTHER, self.record({"b": 2}))
        self.clock.advance(MOVED_FOR)
        assert not self.store.delete(KEY)
        assert self.get(OTHER).data == {"b": 2}

    def test_a_session_kept_by_the_key_it_was_replaced_at_is_kept(self) -> None:
        self.put(KEY, owner="7")
        self.store.replace(KEY, OTHER, self.record({"b": 2}, owner="7"))
        assert self.store.delete_owner("7", keep=[KEY]) == 0
        assert self.get(OTHER).data == {"b": 2}

    def test_a_key_that_is_taken_is_not_moved_to(self) -> None:
        self.put(KEY, {"a": 1})
        self.put(OTHER, {"b": 2})
        refused = 0
        try:
            self.store.rotate(KEY, OTHER, {}, [])
        except VersionConflict:
            refused += 1
        try:
            self.store.replace(KEY, OTHER, self.record({"c": 3}))
        except VersionConflict:
            refused += 1
        assert refused == 2
        assert (self.get(KEY).data, self.get(OTHER).data) == ({"a": 1}, {"b": 2})

    # delete and clear

    def test_a_deleted_session_is_gone(self) -> None:
        self.put()
        assert self.store.delete(KEY)
        assert self.store.load(KEY) is None

    def test_deleting_what_is_not_there_is_no_error(self) -> None:
        assert not self.store.delete(KEY)

    def test_several_sessions_are_deleted_wherever_they_are_now_and_counted_once(self) -> None:
        self.store.create(KEY, self.record())
        self.store.create(OTHER, self.record())
        self.store.rotate(KEY, THIRD, {}, ())
        missing = key_of("missing")
        assert self.store.delete_all([KEY, THIRD, OTHER, missing]) == 2
        assert self.store.delete_all([KEY, THIRD, OTHER, missing]) == 0
        assert [*self.store.records()] == []
        assert self.store.delete_all([]) == 0

    def test_clearing_deletes_all(self) -> None:
        self.put(KEY)
        self.put(OTHER)
        self.store.clear()
        assert list(self.store.records()) == []
        self.put(THIRD)
        assert len(self.store) == 1

    # time

    def test_a_session_expires_exactly_then(self) -> None:
        self.put()
        self.clock.advance(99.5)
        assert self.store.load(KEY) is not None
        self.clock.advance(0.5)
        assert self.store.load(KEY) is None

    def test_expired_sessions_are_neither_counted_nor_listed(self) -> None:
        self.put(KEY)
        self.put(OTHER, expires_at=self.clock() + 200)
        self.clock.advance(100)
        assert len(self.store) == 1
        assert [key for key, _ in self.store.records()] == [OTHER]

    def test_collecting_removes_what_has_expired_and_nothing_else(self) -> None:
        for number in range(120):
            self.put(key_of(str(number)))
        self.put(KEY, expires_at=self.clock() + 200)
        assert self.store.collect() == 0
        self.clock.advance(100)
        assert self.store.collect() == 120
        assert self.store.collect() == 0
        assert self.get(KEY).data == {"user": "ada"}

    def test_what_was_collected_stays_dead_if_the_clock_is_set_back(self) -> None:
        self.put()
        self.clock.advance(100)
        self.store.collect()
        self.clock.advance(-3600)
        assert self.store.load(KEY) is None

    # many at once

    def test_what_is_done_to_many_at_once_is_done_to_each(self) -> None:
        self.put(KEY, {"a": 1}, owner="7")
        records = {key: self.record({"b": 2, "c": 3}, owner="7") for key in (KEY, OTHER, THIRD)}
        assert self.store.create_all(records) == [False, True, True]
        found = [
            record and record.data for record in self.store.load_all([KEY, key_of("x"), THIRD])
        ]
        assert found == [{"a": 1}, None, {"b": 2, "c": 3}]
        versions = {OTHER: self.get(OTHER).version, THIRD: self.get(THIRD).version, KEY: -1}
        self.store.update(THIRD, {"b": 3}, [])
        assert self.store.strip_all(versions, ["b"]) == [True, False, False]
        assert self.get(OTHER).data == {"c": 3}
        assert self.get(THIRD).data == {"b": 3, "c": 3}
        assert not self.store.load_all([])
        assert not self.store.create_all({})
        assert not self.store.strip_all({}, ["b"])

    # records and owners

    def test_records_are_the_sessions_with_their_keys(self) -> None:
        self.put(KEY, {"a": 1})
        self.put(OTHER, {"b": 2})
        assert {key: record.data for key, record in self.store.records()} == {
            KEY: {"a": 1},
            OTHER: {"b": 2},
        }

    def test_an_owners_sessions_are_found(self) -> None:
        self.put(KEY, owner="7")
        self.put(OTHER, owner="8")
        self.put(THIRD, owner="7")
        assert {key for key, _ in self.store.find("7")} == {KEY, THIRD}
        assert self.store.find("9") == []

    def test_an_owners_sessions_are_deleted_but_those_kept(self) -> None:
        for key in KEY, OTHER, THIRD:
            self.put(key, owner="7")
        fourth = key_of("fourth")
        self.put(fourth, owner="8")
        assert self.store.delete_owner("7", keep=[KEY, handle_of(OTHER)]) == 1
        assert {key for key, _ in self.store.records()} == {KEY, OTHER, fourth}

    def test_an_owner_given_as_int_is_the_one_with_its_digits(self) -> None:
        self.put(KEY, owner=42)
        self.put(OTHER)
        self.put(THIRD)
        self.store.update(OTHER, {}, [], owner=42)
        fourth, fifth = key_of("fourth"), key_of("fifth")
        self.store.rotate(THIRD, fourth, {}, [], owner=42)
        self.store.replace(key_of("x"), fifth, self.record(owner=42))
        assert {record.owner for _, record in self.store.records()} == {"42"}
        assert {key for key, _ in self.store.find(42)} == {KEY, OTHER, fourth, fifth}
        assert {key for key, _ in self.store.find("42")} == {KEY, OTHER, fourth, fifth}
        assert self.store.delete_owner(42, keep=[fifth]) == 3
        assert self.store.delete_owner("42") == 1

    def test_what_is_no_owner_is_refused(self) -> None:
        self.put()
        wrong: tuple[Any, ...] = (True, 4.2, b"ada", object())
        for owner in wrong:
            for work in (
                partial(self.store.find, owner),
                partial(self.store.delete_owner, owner),
                partial(self.store.update, KEY, {}, [], owner=owner),
                partial(self.store.rotate, KEY, OTHER, {}, [], owner=owner),
                partial(self.record, owner=owner),
            ):
                assert _raises(ConfigTypeError, work)
        for search in self.store.find, self.store.delete_owner:
            assert _raises(EncodeError, partial(search, "\ud800"))
            assert _raises(ConfigTypeError, partial(search, None))  # type: ignore[arg-type]
        assert self.get().owner is None

    def test_what_is_neither_key_nor_handle_nor_session_is_not_kept(self) -> None:
        self.put(owner="7")
        items: tuple[Any, ...] = ("not a key", 7, None, b"x" * 64)
        for item in items:
            assert _raises(ConfigTypeError, partial(self.store.delete_owner, "7", keep=[item]))
        assert self.get().owner == "7"

    # close

    def test_a_closed_store_says_so(self) -> None:
        self.put()
        self.store.close()
        self.store.close()
        is_refused = False
        try:
            self.store.load(KEY)
        except StoreClosed:
            is_refused = True
        assert is_refused

    def test_an_empty_store_is_true(self) -> None:
        assert self.store


def _raises(error: type[Exception], work: Callable[[], object]) -> bool:
    try:
        work()
    except error:
        return True
    return False
