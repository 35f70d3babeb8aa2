"""Whose sessions are these: finding them, ending them, how many there may be."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from werkzeug.local import LocalProxy

from litesess import (
    ConfigError,
    Corruption,
    EncodeError,
    HeadersSent,
    MemoryStore,
    Record,
    WALStore,
)
from litesess.engine import Clear, Delete, Put
from litesess.engine.batch import Draft
from litesess.engine.index import Index
from litesess.engine.snapshot_format import NO_OWNER
from litesess.engine.view import View
from litesess.ids import handle_of, key_of, owner_hash
from litesess.stores import packed
from litesess.stores.base import MOVED_FOR
from litesess.stores.ending import BATCH_BYTES, BATCH_KEYS
from litesess.stores.limits import _EVICTED as EVICTED
from litesess.stores.memory import _MemoryEngine as MemoryEngine
from tests.tools.apps import COOKIE, Boom, Site, WatchedMemoryStore, WatchedWALStore, look
from tests.tools.engines import (
    FAR,
    abandon,
    change,
    delete,
    key,
    make_engine,
    put,
    small_files,
    touch,
)
from tests.tools.simdisk import SimDisk

KEY = bytes(range(32))
ADA, BOB = owner_hash("ada"), owner_hash("bob")


@pytest.fixture(params=["memory", "wal", "encrypted"])
def store(request, tmp_path, clock):
    """Return what makes a store with these options."""
    made = []

    def make(**options):
        if request.param == "memory":
            store = MemoryStore(clock=clock, **options)
        else:
            encryption_key = KEY if request.param == "encrypted" else None
            store = WALStore(
                tmp_path / "data", clock=clock, encryption_key=encryption_key, **options
            )
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


def begin(store, name, owner=None, *, created_at=None, expires_at=None):
    now = store.clock()
    record = Record(
        {"name": name},
        now if created_at is None else created_at,
        now + 1000 if expires_at is None else expires_at,
        owner=owner,
    )
    assert store.create(key_of(name), record)


def names(found):
    return {record.data["name"] for _, record in found}


# The engine's index.


def owned(engine, owner):
    return {found for found, _ in engine.find(owner)}


def put_for(engine, name, owner, value=b"v"):
    change(engine, Put(key(name), value, FAR, owner))


@pytest.mark.parametrize("is_encrypted", [False, True])
@pytest.mark.parametrize("is_compacted", [False, True])
def test_an_entry_is_found_by_its_owner_wherever_it_lies(
    monkeypatch, is_encrypted, is_compacted, request
):
    small_files(monkeypatch)
    if is_encrypted:
        request.getfixturevalue("encrypted")
    disk = SimDisk()
    engine = make_engine(disk)
    for number in range(100):
        put_for(engine, number, ADA if number % 10 == 0 else owner_hash(str(number)))
    put(engine, "nobody's", b"x")
    if is_compacted:
        engine.compact()
        assert engine.verify().entries == 101
    put_for(engine, 0, BOB)  # another owner
    put(engine, 10, b"x")  # none
    delete(engine, 20)
    put_for(engine, "new", ADA)
    change(engine, Put(key("new 2"), b"v", FAR, ADA), Delete(key(30)))
    expected = {key(name) for name in (40, 50, 60, 70, 80, 90, "new", "new 2")}
    for _ in range(3):
        assert owned(engine, ADA) == expected
        assert owned(engine, BOB) == {key(0)}
        assert owned(engine, owner_hash("41")) == {key(41)}
        assert owned(engine, owner_hash("nobody")) == set()
        assert engine.get(key(40)).owner == ADA
        assert engine.get(key("nobody's")).owner == b""
        engine.compact()
    abandon(engine)
    assert owned(make_engine(disk), ADA) == expected
    change(make_engine(disk.twin()), Clear())


def test_after_a_clear_nobody_owns_anything():
    engine = make_engine(SimDisk())
    put_for(engine, 1, ADA)
    engine.compact()
    put_for(engine, 2, ADA)
    change(engine, Clear())
    assert owned(engine, ADA) == set()
    put_for(engine, 3, ADA)
    assert owned(engine, ADA) == {key(3)}


def test_a_plan_sees_whose_what_those_before_it_have_put_is():
    engine = make_engine(SimDisk())
    put_for(engine, 1, ADA)
    draft = Draft(engine._open.follower.current.view)
    draft.apply([Put(key(2), b"v", FAR, ADA), Delete(key(1))], 2)
    assert {found for found, _ in draft.find(ADA)} == {key(2)}
    draft.apply([Put(key(2), b"v", FAR, BOB)], 3)
    assert draft.find(ADA) == []
    draft.apply([Clear(), Put(key(3), b"v", FAR, ADA)], 4)
    assert {found for found, _ in draft.find(ADA)} == {key(3)}


def test_two_owners_for_whom_the_same_stands_in_the_index_are_told_apart():
    """The index holds eight bytes of an owner, the entry sixteen."""
    engine = make_engine(SimDisk())
    twin = ADA[:8] + bytes(8)
    put_for(engine, 1, ADA)
    put_for(engine, 2, twin)
    put_for(engine, 3, NO_OWNER + b"12345678")
    engine.compact()
    assert owned(engine, ADA) == {key(1)}
    assert owned(engine, twin) == {key(2)}
    assert owned(engine, NO_OWNER + b"12345678") == {key(3)}
    assert engine.get(key(3)).owner == NO_OWNER + b"12345678"


def test_an_index_of_owners_on_the_disk_names_nobody_if_it_is_encrypted(encrypted):
    disk = SimDisk()
    engine = make_engine(disk)
    put_for(engine, 1, ADA)
    engine.compact()
    engine.rekey()
    assert owned(engine, ADA) == {key(1)}
    assert not any(ADA[:8] in data for data in disk.files().values())


class OwnersOverTime(RuleBasedStateMachine):
    """Random changes of random owners, against a dict."""

    def __init__(self):
        super().__init__()
        self.disk = SimDisk()
        self.engine = make_engine(self.disk)
        self.owners = {}

    @rule(name=st.integers(0, 9), owner=st.sampled_from([b"", ADA, BOB]))
    def put(self, name, owner):
        put_for(self.engine, name, owner)
        self.owners[key(name)] = owner

    @rule(name=st.integers(0, 9))
    def delete(self, name):
        delete(self.engine, name)
        self.owners.pop(key(name), None)

    @rule(name=st.integers(0, 9))
    def touch(self, name):
        touch(self.engine, name, FAR + 1)

    @rule()
    def compact(self):
        self.engine.compact()

    @rule(closed=st.booleans())
    def reopen(self, closed):
        if closed:
            self.engine.close()
        else:
            abandon(self.engine)
        self.engine = make_engine(self.disk)

    @rule()
    def clear(self):
        change(self.engine, Clear())
        self.owners.clear()

    @invariant()
    def all_are_found(self):
        for owner in ADA, BOB:
            assert owned(self.engine, owner) == {
                found for found, its in self.owners.items() if its == owner
            }


TestOwnersOverTime = OwnersOverTime.TestCase
TestOwnersOverTime.settings = settings(max_examples=50)


# Stores.


def test_the_sessions_of_an_owner_are_found_and_no_others(store, clock):
    store = store()
    begin(store, "1", "ada")
    begin(store, "2", "ada")
    begin(store, "3", "bob")
    begin(store, "4")
    begin(store, "5", "ada", expires_at=clock() + 1)
    clock.advance(2)
    assert names(store.find("ada")) == {"1", "2"}
    assert names(store.find("bob")) == {"3"}
    assert store.find("") == []
    store.update(key_of("1"), {}, (), owner="bob")
    store.rotate(key_of("2"), key_of("2b"), {}, ())
    assert names(store.find("bob")) == {"1", "3"}
    assert [found for found, _ in store.find("ada")] == [key_of("2b")]


def test_the_sessions_of_an_owner_end_together_but_for_those_to_keep(store):
    store = store()
    for name in "1234":
        begin(store, name, "ada")
    begin(store, "5", "bob")
    assert store.delete_owner("ada", keep=[key_of("1"), handle_of(key_of("2"))]) == 2
    assert names(store.records()) == {"1", "2", "5"}
    assert store.delete_owner("ada") == 2
    assert store.delete_owner("ada") == 0
    assert names(store.records()) == {"5"}


def test_more_sessions_than_one_record_takes_end_all(store):
    store = store()
    for number in range(1100):
        begin(store, f"s{number}", "ada")
    begin(store, "bob's", "bob")
    assert store.delete_owner("ada") == 1100
    assert names(store.records()) == {"bob's"}


def test_when_a_session_was_seen_last_is_found_with_it(store, clock):
    store = store()
    began_at = clock()
    begin(store, "1", "ada")
    clock.advance(100)
    store.touch(key_of("1"), clock() + 1000)
    ((_, record),) = store.find("ada")
    assert (record.created_at, record.last_seen_at) == (began_at, began_at + 100)
    clock.advance(50)
    store.update(key_of("1"), {"a": 1}, (), expires_at=clock() + 1000)
    store.compact()
    ((_, record),) = store.find("ada")
    assert (record.created_at, record.last_seen_at) == (began_at, began_at + 150)
    store.create(key_of("2"), Record({}, clock() - 99, FAR, owner="bob", last_seen_at=clock() - 9))
    ((_, record),) = store.find("bob")
    assert record.last_seen_at == pytest.approx(clock() - 9)


def test_a_handle_leads_to_its_key(store, clock):
    store = store()
    begin(store, "1", "ada")
    begin(store, "2", expires_at=clock() + 1)
    for _ in range(2):
        assert store.locate(handle_of(key_of("1"))) == key_of("1")
        assert store.locate(handle_of(key_of("3"))) is None
        assert store.locate("no handle") is None
        store.compact()
    clock.advance(2)
    assert store.locate(handle_of(key_of("2"))) is None


# While others use them.


def before_the_first_batch(monkeypatch, store, act):
    """Let something happen when the sessions to delete are listed, and none is deleted."""
    transact, todo = store._engine.transact, [act]

    def act_first(plan, *, sync):
        if todo:
            todo.pop()()
        return transact(plan, sync=sync)

    monkeypatch.setattr(store._engine, "transact", act_first)
    return todo


A, B, C, X = map(key_of, ("a", "b", "c", "x"))
RENEWALS = {
    "rotated": lambda store: store.rotate(A, X, {}, ()),
    "rotated twice": lambda store: store.rotate(A, B, {}, ()) and store.rotate(B, X, {}, ()),
    "logged in as the same": lambda store: store.rotate(A, X, {}, (), owner="ada"),
    "logged in as another": lambda store: store.rotate(A, X, {}, (), owner="bob"),
    "logged out": lambda store: store.rotate(A, X, {}, (), owner=None),
    "replaced": lambda store: store.replace(A, X, Record({"name": "x"}, store.clock(), FAR)),
}


@pytest.mark.parametrize("renewal", RENEWALS.values(), ids=RENEWALS)
def test_no_new_id_carries_a_session_past_the_end_of_its_owners(store, monkeypatch, renewal):
    store = store()
    for name in "a", "other", "bob's":
        begin(store, name, "bob" if name == "bob's" else "ada")
    todo = before_the_first_batch(monkeypatch, store, lambda: renewal(store))
    assert store.delete_owner("ada") == 2
    assert not todo
    assert names(store.records()) == {"bob's"}


@pytest.mark.parametrize("renewal", RENEWALS.values(), ids=RENEWALS)
@pytest.mark.parametrize("name_of", [str, handle_of], ids=["key", "handle"])
@pytest.mark.parametrize("is_before", [False, True])
def test_a_session_to_keep_is_kept_under_its_new_id(
    store, monkeypatch, renewal, name_of, is_before
):
    store = store()
    begin(store, "a", "ada")
    begin(store, "other", "ada")
    if is_before:
        renewal(store)
    else:
        before_the_first_batch(monkeypatch, store, lambda: renewal(store))
    assert store.delete_owner("ada", keep=[name_of(A)]) == 1
    assert [found for found, _ in store.records()] == [X]


def test_what_became_anothers_before_stays(store):
    store = store()
    begin(store, "a", "ada")
    begin(store, "b", "ada")
    store.rotate(A, X, {}, (), owner="bob")
    store.update(B, {}, (), owner="bob")
    assert store.delete_owner("ada") == 0
    assert {found for found, _ in store.find("bob")} == {X, B}


def test_what_was_rotated_so_long_ago_that_nothing_leads_there_is_found(store, monkeypatch, clock):
    """A deletion of very many sessions may take longer than a forwarding record lasts."""
    store = store()
    begin(store, "a", "ada")
    begin(store, "other", "ada")
    clock.advance(1)

    def rotate_long_ago():
        store.rotate(A, X, {}, ())
        clock.advance(MOVED_FOR + 1)

    before_the_first_batch(monkeypatch, store, rotate_long_ago)
    assert store.delete_owner("ada") == 2
    assert list(store.records()) == []


@pytest.mark.parametrize("seconds", [0, 1])
def test_sessions_that_begin_meanwhile_are_let_be_and_do_not_keep_it_busy(store, clock, seconds):
    store = store()
    for number in range(120):
        begin(store, f"s{number}", "ada")

    def log_in_again(event):
        if event.name == "destroyed":
            clock.advance(seconds)
            begin(store, f"again {event.handle}", "ada")

    store.listeners.append(log_in_again)
    assert store.delete_owner("ada") == 120
    assert len(store.find("ada")) == 120


def test_a_session_that_cant_be_decoded_stops_nothing(store, caplog):
    store = store()
    for name in "abc":
        begin(store, name, "ada")
    rotten = Put(bytes.fromhex(B), b"rotten", FAR, owner_hash("ada"))
    store._engine.transact(lambda _: ([rotten], None), sync=False)
    assert store.delete_owner("ada") == 2
    assert list(store.records()) == []
    assert "can't be decoded" in caplog.text


def test_a_session_that_cant_be_read_stops_nothing(store, monkeypatch, caplog):
    store = store()
    for name in "abc":
        begin(store, name, "ada")
    get = View.get
    mine = type(store._engine).get

    def damaged(work):
        def get(self, key):
            if key == bytes.fromhex(B):
                raise Corruption("sessions.1.wal", 7, "the checksum is wrong")
            return work(self, key)

        return get

    monkeypatch.setattr(View, "get", damaged(get))
    monkeypatch.setattr(type(store._engine), "get", damaged(mine))
    with pytest.raises(Corruption):  # at the end: that one is not known to have ended
        store.delete_owner("ada")
    monkeypatch.undo()
    assert [found for found, _ in store.records()] == [B]
    assert "passed over" in caplog.text


def test_a_rotten_session_keeps_its_owner_neither_in_nor_out(tmp_path, clock):
    with WALStore(tmp_path, clock=clock, max_per_owner=2) as store:
        for at, name in enumerate("abc"):
            words = {"v": f"the words of {name}"}
            store.create(key_of(name), Record(words, clock() + at, FAR, owner="ada"))
        store.compact()
        (snapshot,) = tmp_path.glob("*.snapshot")
        with snapshot.open("r+b") as file:
            file.seek(file.read().index(b"the words of b"))
            file.write(b"T")
        with pytest.raises(Corruption):
            store.load(key_of("b"))
        # The user logs in, as often as there are devices, logs out everywhere, and the operator
        # ends the rotten one.
        for name in "de":
            assert store.create(key_of(name), Record({}, clock() + 5, FAR, owner="ada"))
        with pytest.raises(Corruption):  # at the end: that one is not known to have ended
            store.delete_owner("ada")
        assert [store.load(key_of(name)) for name in "acde"] == [None] * 4
        store.delete(key_of("b"))
        assert store.load(key_of("b")) is None


@pytest.mark.slow
def test_the_end_of_many_sessions_is_work_for_each_once_and_short_under_the_lock(
    store, monkeypatch
):
    """Each batch went through all of them: 82 s for 40 000, while others waited for 3.6 s."""
    store = store()
    looks, unpacked, batches = [], [], []
    monkeypatch.setattr(
        packed, "unpack", lambda *value, work=packed.unpack: unpacked.append(1) or work(*value)
    )
    for engine in View, MemoryEngine:
        monkeypatch.setattr(
            engine, "get", lambda self, key, work=engine.get: look_at(work(self, key))
        )
    transact = store._engine.transact

    def look_at(entry):
        if entry is not None:
            looks.append(entry)
        return entry

    def measured(plan, *, sync):
        before = len(unpacked)
        outcome = transact(plan, sync=sync)
        batches.append(len(unpacked) - before)
        return outcome

    for count in 200, 400, 800:
        records = {
            key_of(f"{count}/{number}"): Record({}, store.clock(), FAR, owner="ada")
            for number in range(count)
        }
        for found, record in records.items():
            store.create(found, record)
        looks.clear()
        unpacked.clear()
        monkeypatch.setattr(store._engine, "transact", measured)
        assert store.delete_owner("ada") == count
        monkeypatch.setattr(store._engine, "transact", transact)
        assert len(unpacked) <= count
        assert len(looks) <= 3 * count
        assert max(batches) <= BATCH_KEYS


def test_large_sessions_end_a_few_at_a_time(store, monkeypatch):
    store = store()
    for number in range(8):
        store.create(
            key_of(str(number)), Record({"x": "y" * BATCH_BYTES}, store.clock(), FAR, owner="ada")
        )
    ended = []
    store.listeners.append(lambda event: ended.append(len(store.find("ada"))))
    assert store.delete_owner("ada") == 8
    assert ended == [7, 6, 5, 4, 3, 2, 1, 0]


# How many there may be.


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3", True])
def test_a_limit_that_is_none_is_refused(store, limit):
    with pytest.raises(ConfigError, match="max_per_owner"):
        store(max_per_owner=limit)


def test_the_oldest_session_of_an_owner_ends_for_a_new_one(store, clock):
    store = store(max_per_owner=2)
    begin(store, "bob's", "bob")
    begin(store, "nobody's")
    for name in "1234":
        clock.advance(1)
        begin(store, name, "ada")
        assert len(store.find("ada")) <= 2
    assert names(store.records()) == {"3", "4", "bob's", "nobody's"}


def test_a_login_of_a_session_that_is_there_counts_from_then_on(store, clock):
    store = store(max_per_owner=2)
    for name in "123":
        begin(store, name)
    store.update(key_of("1"), {}, (), owner="ada")
    clock.advance(1)
    store.rotate(key_of("2"), key_of("2b"), {}, (), owner="ada")
    clock.advance(1)
    assert names(store.find("ada")) == {"1", "2"}
    store.rotate(key_of("3"), key_of("3b"), {}, (), owner="ada")
    assert names(store.find("ada")) == {"2", "3"}
    store.replace(key_of("3b"), key_of("4"), Record({"name": "4"}, clock() + 5, FAR, owner="ada"))
    assert names(store.find("ada")) == {"2", "4"}
    store.replace(key_of("x"), key_of("5"), Record({"name": "5"}, clock() + 6, FAR, owner="ada"))
    assert names(store.find("ada")) == {"4", "5"}


def test_a_session_that_goes_on_puts_nobody_out(store, clock):
    store = store(max_per_owner=2)
    begin(store, "1", "ada")
    begin(store, "2", "ada")
    store.update(key_of("1"), {"a": 1}, ())
    store.update(key_of("1"), {"a": 2}, (), owner="ada")
    store.rotate(key_of("2"), key_of("2b"), {"b": 1}, (), owner="ada")
    assert names(store.find("ada")) == {"1", "2"}


def test_a_lower_limit_ends_nobody_before_the_next_login(tmp_path, clock):
    with WALStore(tmp_path / "data", clock=clock) as store:
        for name in "123":
            begin(store, name, "ada")
            clock.advance(1)
    with WALStore(tmp_path / "data", clock=clock, max_per_owner=2) as store:
        store.update(key_of("1"), {"a": 1}, ())
        store.rotate(key_of("2"), key_of("2b"), {}, ())
        assert names(store.find("ada")) == {"1", "2", "3"}
        begin(store, "4", "ada")
        assert names(store.find("ada")) == {"3", "4"}


def test_an_expired_session_does_not_count(store, clock):
    store = store(max_per_owner=1)
    begin(store, "1", "ada", expires_at=clock() + 1)
    clock.advance(2)
    begin(store, "2", "ada")
    assert names(store.records()) == {"2"}
    assert store.locate(handle_of(key_of("1"))) is None


@pytest.mark.parametrize("where", ["log", "snapshot"])
@pytest.mark.parametrize("how", ["create", "update", "rotate", "replace"])
def test_each_login_to_far_too_many_sessions_ends_some_of_them(
    tmp_path, clock, monkeypatch, how, where
):
    """It read all of them, values included, and others waited for it."""
    count, limit = 3 * EVICTED, 2
    with WALStore(tmp_path / "data", clock=clock, durable=False) as store:
        for number in range(count):
            begin(store, f"s{number:03}", "ada", created_at=clock() + number)
            begin(store, f"new{number}")
        if where == "snapshot":
            store.compact()
    told = []
    with WALStore(tmp_path / "data", clock=clock, durable=False, max_per_owner=limit) as store:
        store.listeners.append(lambda event: told.append(event.name))
        reads = counted_reads(monkeypatch)
        clock.advance(1000 - 1)
        left = {f"s{number:03}" for number in range(count)}
        for login in range(count):
            reads.clear()
            new, newer = key_of(f"new{login}"), key_of(f"newer{login}")
            if how == "create":
                begin(store, f"newer{login}", "ada")
            elif how == "update":
                store.update(new, {}, (), owner="ada")
            elif how == "rotate":
                store.rotate(new, newer, {}, (), owner="ada")
            else:
                record = Record({"name": f"new{login}"}, clock(), FAR, owner="ada")
                store.replace(new, newer, record)
            assert len(reads) <= 2 * (EVICTED + limit) + 5
            now_left = {name for name in names(store.find("ada")) if name.startswith("s")}
            assert len(left - now_left) <= EVICTED
            left = now_left
            # Whatever goes first, the newest do not.
            assert login or f"s{count - 1:03}" in left
            if len(store.find("ada")) <= limit:
                break
        assert login < count // EVICTED + limit
        assert told.count("evicted") >= count - limit


def counted_reads(monkeypatch):
    """Return the list of keys that are read from now on, from whatever file."""
    reads = []
    get = View.get

    def counted(self, key):
        reads.append(key)
        return get(self, key)

    monkeypatch.setattr(View, "get", counted)
    return reads


def test_a_login_reads_no_session_of_an_owner_who_has_room(tmp_path, clock, monkeypatch):
    with WALStore(tmp_path / "data", clock=clock, max_per_owner=10) as store:
        for number in range(9):
            begin(store, str(number), "ada")
        store.compact()
        reads = counted_reads(monkeypatch)
        begin(store, "new", "ada")
        assert reads == [bytes.fromhex(key_of("new"))] * len(reads)
        assert len(store.find("ada")) == 10


def test_threads_never_exceed_the_limit_and_end_nobody_elses(store):
    store = store(max_per_owner=3)
    begin(store, "bob's", "bob")
    seen = []
    start = threading.Barrier(16)

    def log_in(thread):
        start.wait()
        for number in range(20):
            begin(store, f"{thread}/{number}", "ada")
            seen.append(len(store.find("ada")))

    threads = [threading.Thread(target=log_in, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 320
    assert max(seen) <= 3
    assert len(store.find("ada")) == 3
    assert names(store.find("bob")) == {"bob's"}


@pytest.mark.slow
def test_processes_never_exceed_the_limit_and_end_nobody_elses(tmp_path):
    owners = [str(number) for number in range(5)]
    forking = multiprocessing.get_context("fork")
    answers = forking.Queue()

    def log_in(process):
        with WALStore(tmp_path / "data", max_per_owner=3, durable=False) as store:
            rng = random.Random(process)
            most = 0
            for number in range(300):
                owner = rng.choice(owners)
                begin(store, f"{process}/{number}", owner)
                most = max(most, len(store.find(owner)))
            answers.put(most)

    processes = [forking.Process(target=log_in, args=(process,)) for process in range(4)]
    for process in processes:
        process.start()
    most = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert max(most) <= 3
    with WALStore(tmp_path / "data") as store:
        begun = defaultdict(int)
        for _, record in store.records():
            begun[record.owner] += 1
    assert begun == dict.fromkeys(owners, 3)


# As an app meets them.


@pytest.fixture(params=[WatchedMemoryStore, WatchedWALStore])
def site(request, clock, tmp_path):
    arguments = [tmp_path / "data"] if request.param is WatchedWALStore else []
    site = Site(request.param(*arguments, clock=clock, max_per_owner=2), clock=clock)
    yield site
    site.store.close()


def log_in(session):
    session.owner = 7
    session["user"] = "ada"


def test_a_new_password_ends_the_sessions_of_the_other_browsers_at_their_next_request(
    tmp_path, clock
):
    site = Site(WatchedWALStore(tmp_path / "data", clock=clock), clock=clock)
    browsers = [site.new_browser() for _ in range(3)]
    for browser in browsers:
        site.visit(log_in, by=browser)

    def change_password(session):
        site.store.delete_owner(session.owner, keep=[session])
        session.rotate()

    site.visit(change_password, by=browsers[1])
    seen = [site.visit(look, by=browser).value for browser in browsers]
    assert seen == [{}, {"user": "ada"}, {}]
    site.store.close()


@pytest.mark.parametrize("state", ["unread", "read", "rotated", "changed", "logged in anew"])
def test_the_session_of_a_request_is_kept_whatever_was_done_with_it(site, state):
    other = site.new_browser()
    site.visit(log_in, by=other)
    site.visit(log_in)

    def work(session):
        if state == "read":
            dict(session)
        elif state == "rotated":
            session.rotate()
        elif state == "changed":
            session["a"] = 1
        elif state == "logged in anew":
            session.regenerate()
            session.owner = 7
        return site.store.delete_owner(7, keep=[session])

    assert site.visit(work).value == 1
    assert site.visit(look).value.get("user") == (None if state == "logged in anew" else "ada")
    assert len(site.store.find(7)) == 1
    assert site.visit(look, by=other).value == {}


def test_a_session_that_is_not_stored_yet_may_be_kept(site):
    site.visit(log_in)
    stranger = site.new_browser()
    assert site.visit(lambda s: site.store.delete_owner(7, keep=[s]), by=stranger).value == 1
    assert site.store.find(7) == []


def test_an_owner_of_another_type_is_refused_when_it_is_set(site):
    class User:
        pass

    for owner in User(), True, 7.0, b"7":
        with pytest.raises(TypeError, match=type(owner).__name__):
            site.visit(lambda s, owner=owner: setattr(s, "owner", owner))
    assert site.store.find("7") == []


def test_a_third_browser_puts_the_first_one_out(site, clock):
    browsers = [site.new_browser() for _ in range(3)]
    for browser in browsers:
        site.visit(log_in, by=browser)
        clock.advance(1)
    seen = [site.visit(look, by=browser).value for browser in browsers]
    assert seen == [{}, {"user": "ada"}, {"user": "ada"}]


def test_a_login_drops_the_csrf_token_from_before_it(site):
    """Who planted a session knew its token."""
    before = site.visit(lambda session: session.get_csrf_token()).value
    site.visit(log_in)
    after = site.visit(lambda session: session.get_csrf_token()).value
    assert after != before
    site.visit(lambda session: setattr(session, "owner", 7))  # no other owner
    assert site.visit(lambda session: session.get_csrf_token()).value == after


def ids_of(site):
    return site.visit(lambda s: (s.id, s.get_csrf_token(), s.created_at)).value


def test_logging_in_again_is_a_new_id_token_and_life(clock):
    """OWASP ASVS 5.0, 7.2.4: also at re-authentication."""
    site = Site(clock=clock, absolute_timeout=3600, cookie={"max_age": 7200})
    site.visit(lambda s: (s.login("ada"), s.update(cart=[1])))
    old, token, created_at = ids_of(site)
    clock.advance(3540)
    former = site.header
    site.visit(lambda s: s.login("ada"))
    clock.advance(120)
    again = ids_of(site)
    assert again[0] != old
    assert again[1] != token
    assert again[2] == created_at + 3540
    assert site.visit(look).value["cart"] == [1]
    assert site.visit(lambda s: s.owner, cookie=former).value is None


def test_to_set_the_owner_that_a_session_has_changes_nothing(site):
    site.visit(lambda s: s.login(42))
    before = ids_of(site)
    response = site.visit(lambda s: setattr(s, "owner", "42"))
    assert response.set_cookies == []
    assert ids_of(site) == before


def test_what_was_under_way_before_a_login_again_has_no_part_in_it(site):
    site.visit(lambda s: s.login("ada"))

    def late(session):
        session["late"] = 1
        site.visit(lambda s: s.login("ada"), by=site.browser)

    site.visit(late, cookie=site.header)
    assert "late" not in site.visit(look).value
    assert site.visit(lambda s: s.owner).value == "ada"


@pytest.mark.parametrize(
    "switch",
    [lambda s: s.login("bob"), lambda s: setattr(s, "owner", "bob")],
    ids=["login", "owner"],
)
def test_data_does_not_go_from_one_owner_to_another(site, switch):
    site.visit(lambda s: (s.login("ada"), s.update(card="4711", before=1)))
    former = site.header
    site.visit(lambda s: (s.update(mine=1), switch(s), s.update(name="Bob")))
    assert site.visit(look).value == {"name": "Bob"}
    assert site.visit(lambda s: s.owner).value == "bob"
    assert site.visit(look, cookie=former).value == {}
    assert site.store.find("ada") == []


def test_what_another_request_stored_meanwhile_goes_with_its_owner(site):
    site.visit(lambda s: s.login("ada"))

    def switch(session):
        session.login("bob")
        site.visit(lambda s: s.update(card="4711"), cookie=site.header)

    site.visit(switch, by=site.browser)
    assert site.visit(look).value == {}


def test_an_anonymous_session_keeps_its_data_at_login(site):
    site.visit(lambda s: s.update(cart=[1]))
    site.visit(lambda s: (s.update(more=2), s.login("ada")))
    assert site.visit(look).value == {"cart": [1], "more": 2}


@pytest.mark.parametrize(
    "end", [lambda s: s.clear(), lambda s: setattr(s, "owner", None)], ids=["clear", "owner"]
)
class TestClear:
    def test_data_and_owner_go_and_the_client_forgets_the_cookie(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))
        response = site.visit(end)
        assert "Max-Age=0" in response.set_cookies[0]
        assert len(site.store) == 0

    def test_what_is_set_after_it_goes_on_without_an_owner(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))
        former = site.header
        site.visit(lambda s: (s.update(b=1), end(s), s.flash("bye")))
        assert site.visit(lambda s: (s.owner, s.pop_flash(), dict(s))).value == (None, ["bye"], {})
        assert site.visit(look, cookie=former).value == {}

    def test_after_a_fresh_start_it_leaves_no_session(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))
        site.visit(lambda s: (s.regenerate(), s.clear(), end(s)))
        assert len(site.store) == 0

    def test_a_login_after_it_is_a_login(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))
        site.visit(lambda s: (end(s), s.login("bob")))
        assert site.visit(lambda s: (s.owner, dict(s))).value == ("bob", {})

    def test_after_save_it_is_gone_and_another_session_can_begin(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))
        assert (
            site.visit(lambda s: (end(s), s.save(), len(site.store), s.update(c=1))).value[2] == 0
        )
        assert site.visit(lambda s: (s.owner, dict(s))).value == (None, {"c": 1})

    def test_in_atomic_it_holds_when_that_ends(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))
        seen = site.visit(
            lambda s: (s.atomic(end), site.store.find("ada"), s.owner, len(s)), by=site.browser
        ).value
        assert seen[1:] == ([], None, 0)
        assert len(site.store) == 0

    def test_in_atomic_what_is_set_after_it_gets_another_id(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))
        former = site.header
        site.visit(lambda s: s.atomic(lambda held: (end(held), held.update(b=2))))
        assert site.visit(lambda s: (s.owner, dict(s))).value == (None, {"b": 2})
        assert site.visit(look, cookie=former).value == {}

    def test_after_the_headers_it_deletes_at_once_and_writes_raise(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))
        seen = []

        def shape(environ, start_response):
            session = environ["litesess.session"]
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"sent"
            end(session)
            seen.append(len(site.store))
            with pytest.raises(HeadersSent):
                session["b"] = 1

        site.visit(shape=shape)
        assert seen == [0]

    def test_a_request_that_fails_clears_nothing(self, site, end):
        site.visit(lambda s: (s.login("ada"), s.update(a=1)))

        def fail(session):
            end(session)
            raise Boom

        with pytest.raises(Boom):
            site.visit(fail)
        assert site.visit(lambda s: (s.owner, dict(s))).value == ("ada", {"a": 1})


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda s: s.destroy(),
        lambda s: s.clear(),
        lambda s: s.login("bob"),
        lambda s: s.rotate(),
        lambda s: (s.regenerate(), s.update(b=1)),
    ],
    ids=["destroy", "clear", "login", "rotate", "regenerate"],
)
@pytest.mark.parametrize("former", [None, "ada"])
def test_a_login_holds_whatever_became_of_the_session_it_came_with(site, former, meanwhile):
    site.visit(lambda s: s.update(a=1) if former is None else s.login(former))
    other = site.new_browser()
    other.cookies.update(site.browser.cookies)

    def log_in_late(session):
        session.get("a")
        site.visit(meanwhile, by=other)
        session["mine"] = 1
        session.login("ada")

    site.visit(log_in_late)
    assert site.visit(lambda s: (s.owner, dict(s))).value == ("ada", {"mine": 1})


def test_clear_ends_all_candidates_also_if_something_is_set_after_it(site):
    browsers = site.new_browser(), site.new_browser()
    for name, browser in zip(("ada", "bob"), browsers, strict=True):
        site.visit(lambda s, name=name: s.login(name), by=browser)
    header = "; ".join(f"{COOKIE}={browser.cookies[COOKIE]}" for browser in browsers)
    response = site.visit(lambda s: (s.clear(), s.update(bye=1)), cookie=header)
    assert site.store.find("ada") == site.store.find("bob") == []
    assert [record.data for _, record in site.store.records()] == [{"bye": 1}]
    assert response.said == "set"


def test_no_owner_ends_all_candidates_of_different_owners(site):
    browsers = site.new_browser(), site.new_browser()
    for name, browser in zip(("ada", "bob"), browsers, strict=True):
        site.visit(lambda s, name=name: s.login(name), by=browser)
    header = "; ".join(f"{COOKIE}={browser.cookies[COOKIE]}" for browser in browsers)
    site.visit(lambda s: setattr(s, "owner", None), cookie=header)
    assert len(site.store) == 0


def test_what_atomic_leaves_of_a_new_session_is_as_it_found_it_if_that_fails(site):
    def fail(session):
        session.clear()
        raise Boom

    def act(session):
        session["a"] = object()
        with pytest.raises(EncodeError):
            session.atomic(lambda s: None)
        session["a"] = 1
        session.login("ada")
        with pytest.raises(Boom):
            session.atomic(fail)

    site.visit(act)
    assert site.visit(lambda s: (s.owner, dict(s))).value == ("ada", {"a": 1})


def test_clearing_a_session_of_its_own_scope_expires_the_cookie_there(site):
    def begin(session):
        session.login("ada")
        session.cookie.path = "/shop"

    for end in (lambda s: s.clear(), lambda s: s.destroy(), lambda s: s.regenerate()):
        browser = site.new_browser()
        site.visit(begin, "/shop", by=browser)
        cookies = site.visit(end, "/shop", by=browser).set_cookies
        assert any("Path=/shop;" in it and "Max-Age=0" in it for it in cookies)


def test_a_login_that_the_client_cant_be_told_leaves_no_session(clock):
    site = Site(clock=clock, cookie_name=COOKIE, cookie={"secure": True})
    https = {"wsgi.url_scheme": "https"}
    site.visit(lambda s: s.update(a=1), **https)
    site.visit(lambda s: s.login("ada"), cookie=site.header)
    assert site.store.find("ada") == []


def test_what_is_known_of_a_browser_is_kept_if_it_is_asked_for(tmp_path, clock):
    site = Site(WatchedWALStore(tmp_path / "data", clock=clock), clock=clock, client_info=True)
    browser = {"HTTP_USER_AGENT": "Mosaic/1.0 " + "x" * 600, "REMOTE_ADDR": "192.0.2.1"}
    site.visit(lambda session: session.update(a=1), **browser)
    ((_, record),) = site.store.records()
    assert record.client == {
        "user_agent": ("Mosaic/1.0 " + "x" * 600)[:512],
        "address": "192.0.2.1",
    }
    site.visit(lambda session: session.update(a=2), REMOTE_ADDR="192.0.2.9")
    ((_, record),) = site.store.records()
    assert record.client["address"] == "192.0.2.1"  # that of its beginning
    site.visit(log_in, REMOTE_ADDR="192.0.2.2", HTTP_USER_AGENT="Lynx")
    ((_, record),) = site.store.find("7")
    assert record.client == {"user_agent": "Lynx", "address": "192.0.2.2"}
    site.store.close()


@pytest.mark.parametrize(
    ("trust_proxy", "address"),
    [
        (None, "10.0.0.1"),
        (False, "10.0.0.1"),
        (True, "192.0.2.7"),
        (1, "192.0.2.7"),
        (2, "203.0.113.9"),
        (3, "198.51.100.4"),
        (4, "198.51.100.4"),
    ],
)
def test_the_address_is_the_proxys_word_only_if_that_is_trusted(store, clock, trust_proxy, address):
    site = Site(WatchedMemoryStore(clock=clock), clock=clock, client_info=True,
                trust_proxy=trust_proxy)  # fmt: skip
    site.visit(
        lambda session: session.update(a=1),
        REMOTE_ADDR="10.0.0.1",
        HTTP_X_FORWARDED_FOR="198.51.100.4, 203.0.113.9, 192.0.2.7",
    )
    ((_, record),) = site.store.records()
    assert record.client["address"] == address


def test_nothing_is_known_of_a_browser_by_default(site):
    site.visit(log_in, HTTP_USER_AGENT="Lynx")
    ((_, record),) = site.store.find("7")
    assert record.client is None


def test_verifying_looks_a_few_times_at_each_session_however_many_its_owner_has(
    tmp_path, monkeypatch
):
    """It once went through all sessions of the owner for each: 7 s for 8 000 of them."""
    looks = []
    owner_tag = Index.owner_tag
    with WALStore(tmp_path) as store:
        for number in range(300):
            store.create(key_of(str(number)), Record({}, 1.0, 1e10, owner="ada"))
        store.compact()
        monkeypatch.setattr(
            Index, "owner_tag", lambda self, at: looks.append(at) or owner_tag(self, at)
        )
        assert store.verify().entries == 300
    assert len(looks) <= 3 * 300


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: [s]], ids=["itself", "in a list"])
def test_a_session_that_is_kept_may_come_as_flasks_proxy(wrap):
    site = Site()
    site.visit(lambda s: s.login("ada"))
    site.visit(lambda s: s.login("ada"), by=site.new_browser())

    def act(session):
        return site.store.delete_owner("ada", keep=wrap(LocalProxy(lambda: session)))

    assert site.visit(act).value == 1
    assert site.visit(lambda s: s.owner).value == "ada"
