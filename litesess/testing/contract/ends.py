"""Sessions end, are listed, and are found by their owner."""

from __future__ import annotations

from functools import partial
from math import nan
from typing import TYPE_CHECKING, Any
from uuid import UUID

from litesess.errors import ConfigTypeError, EncodeError, StoreClosed
from litesess.ids import handle_of, key_of
from litesess.testing.contract.base import KEY, OTHER, THIRD, StoreTests

if TYPE_CHECKING:
    from collections.abc import Callable


class EndTests(StoreTests):
    """The end of sessions, and the ways to find them."""

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

    def test_no_session_ends_at_a_time_that_is_none(self) -> None:
        before = self.put()
        refused = [
            lambda: self.store.create(OTHER, self.record(expires_at=nan)),
            lambda: self.store.create_all({OTHER: self.record(expires_at=nan)}),
            lambda: self.store.touch(KEY, nan),
            lambda: self.store.update(KEY, {"a": 1}, (), expires_at=nan),
            lambda: self.store.rotate(KEY, OTHER, {"a": 1}, (), expires_at=nan),
            lambda: self.store.replace(KEY, OTHER, self.record(expires_at=nan)),
        ]
        for refuse in refused:
            assert _raises(EncodeError, refuse)
        assert self.store.load(OTHER) is None
        assert (self.get().data, self.get().expires_at) == (before.data, before.expires_at)

    def test_a_session_that_began_by_a_clock_far_ahead_lives_no_longer_than_others(self) -> None:
        now = self.clock()
        self.clock.advance(14 * 365 * 86_400)
        self.put(owner="7")
        self.clock.now = now + 1000
        assert self.get().expires_at == self.clock() + 100
        assert [record.expires_at for _, record in self.store.records()] == [self.clock() + 100]
        assert self.store.find("7")[0][1].expires_at == self.clock() + 100
        # A write corrects the expiry for good.
        self.store.update(KEY, {}, (), expires_at=self.clock() + 100)
        assert self.get().created_at == self.get().last_seen_at == self.clock()
        self.clock.advance(100)
        assert self.store.load(KEY) is None

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

    def test_an_owner_given_as_uuid_is_the_one_with_its_text(self) -> None:
        owner = UUID(int=42)
        self.put(KEY, owner=owner)
        self.put(OTHER)
        self.store.update(OTHER, {}, [], owner=owner)
        assert {record.owner for _, record in self.store.records()} == {str(owner)}
        assert {key for key, _ in self.store.find(owner)} == {KEY, OTHER}
        assert self.store.delete_owner(owner, keep=[OTHER]) == 1
        assert self.store.delete_owner(str(owner)) == 1

    def test_what_is_no_owner_is_refused(self) -> None:
        self.put()
        nobody: Any = None
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
            assert _raises(ConfigTypeError, partial(search, nobody))
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
