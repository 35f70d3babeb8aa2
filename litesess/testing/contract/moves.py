"""Sessions get another key: rotations, logins and replacements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litesess.errors import VersionConflict
from litesess.ids import handle_of, key_of
from litesess.stores.base import LATE_FOR, MOVED_FOR
from litesess.testing.contract.base import KEY, OTHER, THIRD, StoreTests

if TYPE_CHECKING:
    pass


class MoveTests(StoreTests):
    """Sessions that move to another key."""

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

    def test_a_former_key_is_known_by_the_time_of_the_move_or_not_at_all(self) -> None:
        self.put(KEY)
        assert self.store.moved_at(KEY) is None
        now = self.clock()
        self.store.rotate(KEY, OTHER, {}, [])
        self.store.replace(OTHER, THIRD, self.record())
        self.clock.advance(1)
        for former in KEY, OTHER:
            assert self.store.moved_at(former) in (now, None)
        assert self.store.moved_at(THIRD) is None
        assert self.store.moved_at(key_of("missing")) is None
        self.clock.advance(MOVED_FOR)
        assert self.store.moved_at(KEY) is None

    def test_former_keys_are_no_sessions(self) -> None:
        self.put(KEY, owner="7")
        self.store.rotate(KEY, OTHER, {}, [])
        self.store.replace(OTHER, THIRD, self.record(owner="7"))
        assert len(self.store) == 1
        assert [key for key, _ in self.store.records()] == [THIRD]
        assert [key for key, _ in self.store.find("7")] == [THIRD]
        assert self.store.locate(handle_of(KEY)) is None
        assert self.store.delete_owner("7") == 1

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

    def test_a_change_that_comes_too_late_after_a_rotation_is_dropped(self) -> None:
        self.put(expires_at=self.clock() + 2 * MOVED_FOR)
        self.store.rotate(KEY, OTHER, {}, [])
        self.clock.advance(LATE_FOR - 1)
        assert self.store.update(KEY, {"a": 1}, []) is not None
        self.clock.advance(1)
        assert self.store.update(KEY, {"a": 2}, []) is None
        assert self.get(OTHER).data == {"user": "ada", "a": 1}

    def test_a_deletion_sticks_for_an_hour_after_a_change_of_key(self) -> None:
        ends_at = self.clock() + 2 * MOVED_FOR
        rotated, logged_in, replaced = [(key_of(f"{n}"), key_of(f"{n} moved")) for n in range(3)]
        for former, _ in rotated, logged_in, replaced:
            self.put(former, expires_at=ends_at)
        self.store.rotate(*rotated, {}, [])
        self.store.rotate(*logged_in, {}, [], owner="7")
        self.store.replace(*replaced, self.record(expires_at=ends_at))
        self.clock.advance(MOVED_FOR - 1)
        for former, key in rotated, logged_in, replaced:
            assert self.store.update(former, {"a": 1}, []) is None
            assert self.get(key).data.get("a") is None
            assert self.store.delete(former)
            assert self.store.load(key) is None

    def test_a_deletion_that_comes_too_late_after_a_rotation_is_dropped(self) -> None:
        self.put(expires_at=self.clock() + 2 * MOVED_FOR)
        self.store.rotate(KEY, OTHER, {}, [])
        self.clock.advance(MOVED_FOR)
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
        ends_at = self.clock() + 2 * MOVED_FOR
        self.store.replace(KEY, OTHER, self.record({"b": 2}, expires_at=ends_at))
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
