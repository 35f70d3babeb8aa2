"""WALStore: its constructor, its directory, its options, its end."""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from litesess import ConfigError, Record, StoreClosed, StoreError, WALStore
from litesess.ids import key_of
from tests.tools.children import in_child

KEY = key_of("first")


def put(store, **data):
    assert store.create(KEY, Record(data, store.clock(), store.clock() + 100))


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


# The constructor.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("collection", ""),
        ("collection", "a/b"),
        ("collection", ".."),
        ("collection", "x" * 65),
        ("durable", 1),
        ("wal_limit", 100),
        ("wal_limit", 1 << 40),
        ("wal_limit", 65_536.0),
        ("ttl", 0),
        ("ttl", None),
        ("gc_interval", -1),
        ("compact_after_gc", "yes"),
        ("touch_interval", "never"),
        ("lock_timeout", -1),
        ("debug", "yes"),
        ("clock", 5),
        ("collecton", "x"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, name, value):
    with pytest.raises(ConfigError, match=name):
        WALStore(tmp_path, **{name: value})


@pytest.mark.parametrize("path", ["", b"data", None, 5, "a\0b"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ConfigError, match="path"):
        WALStore(path)


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is not a directory"):
        WALStore(tmp_path / "file")


def test_a_file_above_the_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is not a directory"):
        WALStore(tmp_path / "file" / "deeper" / "data")


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises((ConfigError, StoreError)):
        WALStore(tmp_path / "loop" / "data")


def test_a_name_too_long_for_the_file_system_is_refused(tmp_path):
    with pytest.raises((ConfigError, StoreError)):
        WALStore(tmp_path / ("x" * 300))


def test_a_place_that_cant_be_written_is_refused():
    # Not below a directory of the tests, which is closed to the user that this goes on as.
    with TemporaryDirectory() as place:
        os.chmod(place, 0o555)

        def work() -> int:
            if os.geteuid() == 0:  # whom no mode keeps out
                os.setuid(12345)
            with pytest.raises(ConfigError, match="can't write"):
                WALStore(os.path.join(place, "data"))
            return 7

        assert in_child(work) == 7


def test_the_constructor_makes_nothing_and_holds_nothing(tmp_path):
    threads, descriptors = threading.active_count(), os.listdir("/proc/self/fd")
    store = WALStore(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads
    assert os.listdir("/proc/self/fd") == descriptors
    store.close()


def test_the_constructor_holds_nothing_of_a_store_that_is_there(tmp_path):
    with WALStore(tmp_path) as store:
        put(store)
    descriptors = os.listdir("/proc/self/fd")
    WALStore(tmp_path)
    assert os.listdir("/proc/self/fd") == descriptors


def test_a_relative_path_stays_where_it_was_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = WALStore("data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with store:
        put(store)
    assert (tmp_path / "data").is_dir()
    assert store.path == str(tmp_path / "data")


def test_a_linked_directory_is_followed(tmp_path):
    (tmp_path / "shared").mkdir(mode=0o700)
    (tmp_path / "data").symlink_to("shared")
    with WALStore(tmp_path / "data") as store:
        put(store)
    assert list((tmp_path / "shared").iterdir())


def test_the_repr_is_the_path(tmp_path):
    assert repr(WALStore(tmp_path)) == f"<WALStore {str(tmp_path)!r}>"


def test_its_defaults(tmp_path):
    store = WALStore(tmp_path)
    assert (store.ttl, store.gc_interval, store.touch_interval, store.compact_after_gc) == (
        86_400,
        300,
        "auto",
        False,
    )


# The directory.


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_directory_and_files_are_private_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with WALStore(tmp_path / "new" / "data") as store:
            put(store)
            store.compact()
            data = Path(store.path)
            assert {mode(path) for path in data.iterdir()} == {0o600}
            assert mode(data) == 0o700
    finally:
        os.umask(before)


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_to_becomes_private(tmp_path, bits):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(bits)
    with WALStore(tmp_path / "data") as store:
        assert mode(tmp_path / "data") == bits  # not by the constructor, which opens nothing
        put(store)
        assert mode(tmp_path / "data") == 0o700


def test_a_planted_link_is_refused(tmp_path):
    with WALStore(tmp_path / "data") as store:
        put(store)
    live = tmp_path / "data" / "sessions.live"
    live.rename(tmp_path / "elsewhere")
    live.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="remove it"):
        WALStore(tmp_path / "data").load(KEY)


def test_collections_share_a_directory_and_nothing_else(tmp_path):
    """CVE-2011-4136 (Django): a client could name another thing in the cache as its session."""
    with WALStore(tmp_path, collection="one") as one, WALStore(tmp_path, collection="two") as two:
        put(one, a=1)
        assert two.load(KEY) is None
        two.clear()
        assert one.load(KEY).data == {"a": 1}


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "sessions.old.0000000000000001.wal").write_text("mine")
    with WALStore(tmp_path) as store:
        put(store)
        store.compact()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "sessions.old.0000000000000001.wal").read_text() == "mine"


# The options.


def test_collecting_by_the_clock_that_was_given(tmp_path, clock):
    with WALStore(tmp_path, clock=clock) as store:
        put(store)
        clock.advance(100)
        assert store.load(KEY) is None
        assert store.collect() == 1


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_acknowledged_is_there_for_the_next_store(tmp_path, durable, clock):
    with WALStore(tmp_path, durable=durable, clock=clock) as store:
        put(store, a=1)
    with WALStore(tmp_path, durable=durable, clock=clock) as store:
        assert store.load(KEY).data == {"a": 1}


def test_deleting_what_is_not_there_writes_nothing(tmp_path):
    with WALStore(tmp_path) as store:
        put(store)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        assert not store.delete(key_of("second"))
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        assert store.delete(KEY)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} != before


def test_debug_logs_what_the_store_does_without_ids(tmp_path, caplog):
    logger = logging.getLogger("litesess")
    before = logger.level
    try:
        with WALStore(tmp_path, debug=True) as store:
            put(store)
        assert logger.level == logging.DEBUG
        assert any(record.levelno == logging.DEBUG for record in caplog.records)
        assert KEY not in caplog.text
    finally:
        logger.setLevel(before)


def test_without_debug_the_log_level_is_left_alone(tmp_path):
    before = logging.getLogger("litesess").level
    WALStore(tmp_path).close()
    assert logging.getLogger("litesess").level == before


# The end.


def test_each_operation_on_a_closed_store_says_so(tmp_path):
    store = WALStore(tmp_path)
    put(store)
    store.close()
    for operation in (
        lambda: store.load(KEY),
        lambda: store.delete(KEY),
        lambda: store.touch(KEY, 1),
        lambda: list(store.records()),
        lambda: store.collect(),
        lambda: store.compact(),
    ):
        with pytest.raises(StoreClosed):
            operation()


def test_a_store_closed_before_its_first_use_says_so_too(tmp_path):
    store = WALStore(tmp_path / "data")
    store.close()
    with pytest.raises(StoreClosed):
        store.load(KEY)
    assert not (tmp_path / "data").exists()


def test_closing_again_is_harmless(tmp_path):
    store = WALStore(tmp_path)
    put(store)
    store.close()
    store.close()


def test_closing_lets_go_of_every_descriptor(tmp_path):
    descriptors = len(os.listdir("/proc/self/fd"))
    with WALStore(tmp_path) as store:
        put(store)
        store.compact()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_store_can_be_opened_as_soon_as_another_is_closed(tmp_path):
    for number in range(5):
        with WALStore(tmp_path, lock_timeout=0) as store:
            store.create(key_of(str(number)), Record({}, 0, store.clock() + 100))
            assert len(store) == number + 1
