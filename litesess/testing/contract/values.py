"""Sessions are stored, loaded, changed and touched."""

from __future__ import annotations

import sys
import threading
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from litesess.errors import EncodeError, VersionConflict
from litesess.testing.contract.base import KEY, StoreTests

if TYPE_CHECKING:
    pass


class ValueTests(StoreTests):
    """A session and its values."""

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
        names = "abcdefgh"
        start = threading.Barrier(len(names))

        def write(name: str) -> None:
            start.wait(60)
            for number in range(10):
                assert self.store.update(KEY, {f"{name}{number}": number}, [])

        threads = [threading.Thread(target=write, args=(name,)) for name in names]
        # Often enough to catch a store without a lock between its reading and its writing.
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        assert len(self.get().data) == 80

    def test_an_update_that_comes_while_another_is_merged_is_not_lost(self) -> None:
        self.put(data={})
        late = threading.Thread(target=self.store.update, args=(KEY, {"late": 1}, []))

        class Slow(dict[str, Any]):
            """Changes that take as long to read as another update, unless that waits for a lock."""

            def read(self) -> None:
                if not late.ident:
                    late.start()
                    late.join(0.2)

            def items(self) -> Any:
                self.read()
                return super().items()

            def keys(self) -> Any:
                self.read()
                return super().keys()

            def __iter__(self) -> Any:
                self.read()
                return super().__iter__()

        self.store.update(KEY, Slow(slow=1), [])
        late.join()
        assert self.get().data == {"slow": 1, "late": 1}

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
