"""``litesess copy``: from store to store, while both are in use."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from itertools import count

import pytest

from litesess import Record, WALStore
from litesess.cli.exits import Exit
from litesess.ids import key_of
from litesess.stores.copying import DRAFT
from litesess.stores.fallback import FallbackStore
from litesess.stores.redis import RedisStore
from tests.tools.redises import needs_redis, redis_server

PASSPHRASE, OTHER = "correct horse battery", "staple them together"
SEED = int(os.environ.get("LITESESS_SEED", "20"))


def fill(store, number=30, owner="7"):
    now = time.time()
    for each in range(number):
        record = Record({"n": each, "cart": [each]}, now - 50, now + 5000, owner=owner)
        assert store.create(key_of(str(each)), record)


def content(store):
    return {
        key: (record.data, record.owner, record.expires_at, record.created_at)
        for key, record in store.records()
    }


@pytest.fixture
def source(tmp_path):
    with WALStore(tmp_path / "old") as store:
        fill(store)
        yield store


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


_prefixes = count()


@pytest.fixture
def prefix():
    return f"copy{next(_prefixes)}:"


def test_a_directory_is_copied_to_another(cli, source, tmp_path):
    told = cli("copy", f"wal:{source.path}", f"wal:{tmp_path / 'new'}", "--create")
    assert (told.code, told.err) == (Exit.DONE, "")
    assert told.out == "30 sessions copied, 0 there already, 0 ended meanwhile; 30 compared\n"
    with WALStore(tmp_path / "new") as dest:
        assert content(dest) == content(source)
        assert len(dest.find("7")) == 30
    again = cli("copy", f"wal:{source.path}", f"wal:{tmp_path / 'new'}", "--json")
    assert json.loads(again.out) == {
        "copied": 0, "existing": 30, "ended": 0, "compared": 30, "different": [],
    }  # fmt: skip


def test_a_copy_that_says_something_else_is_told(cli, source, tmp_path):
    with WALStore(tmp_path / "new") as dest:
        now = time.time()
        dest.create(key_of("3"), Record({"n": "mine"}, now, now + 100))
    told = cli("copy", f"wal:{source.path}", f"wal:{tmp_path / 'new'}")
    assert told.code == Exit.DIFFERENT
    assert f"1 session in DEST missing or different: {key_of('3')[:16]}" in told.err


def test_collections_are_named_behind_the_path(cli, source, tmp_path):
    dest = f"wal:{source.path}?collection=spare"
    assert cli("copy", f"wal:{source.path}", dest, "--create").code == Exit.DONE
    with WALStore(source.path, collection="spare") as spare:
        assert content(spare) == content(source)


def test_encrypted_stores_are_opened_by_a_key_each(cli, tmp_path, monkeypatch):
    with WALStore(tmp_path / "old", encryption_key=PASSPHRASE) as store:
        fill(store, 3)
        before = content(store)
    old, new = f"wal:{tmp_path / 'old'}", f"wal:{tmp_path / 'new'}"
    assert "set LITESESS_ENCRYPTION_KEY" in cli("copy", old, new, "--create").err
    monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", PASSPHRASE)
    monkeypatch.setenv("LITESESS_NEW_ENCRYPTION_KEY", OTHER)
    assert cli("copy", old, new, "--create").code == Exit.DONE
    with WALStore(tmp_path / "new", encryption_key=OTHER) as store:
        assert content(store) == before
    monkeypatch.delenv("LITESESS_NEW_ENCRYPTION_KEY")
    told = cli("copy", old, new)
    assert told.code == Exit.KEY
    assert "set LITESESS_NEW_ENCRYPTION_KEY, or give --new-key-file" in told.err


@pytest.mark.parametrize(
    ("source", "dest", "code", "words"),
    [
        ("data", "wal:new", Exit.PATH, "data: No such file"),
        ("old", "wal:./old", Exit.USAGE, "the same store"),
        ("http://x/", "wal:new", Exit.USAGE, "no such scheme"),
        ("wal:missing", "wal:new", Exit.PATH, "missing: No such file"),
        ("wal:old", "wal:old", Exit.USAGE, "the same store"),
        ("wal:old", "wal:new", Exit.PATH, "new: No such file"),
        ("wal:old?prefix=x", "wal:new", Exit.USAGE, "only ?collection=NAME"),
        ("wal:old", "redis://127.0.0.1:1/", Exit.AWAY, "can't be reached"),
        ("wal:old", "redis://:secret@127.0.0.1:1/", Exit.AWAY, "redis://127.0.0.1:1"),
    ],
)
@pytest.mark.slow
def test_what_cant_be_copied_is_one_line(cli, tmp_path, monkeypatch, source, dest, code, words):
    monkeypatch.chdir(tmp_path)
    with WALStore("old") as store:
        fill(store, 1)
    told = cli("copy", source, dest)
    assert told.code == code
    assert words in told.err
    assert "secret" not in told.err
    assert told.out == ""


@needs_redis
class TestRedis:
    def test_there_and_back_nothing_changes(self, cli, source, redis_url, prefix, tmp_path):
        url = f"{redis_url}/0?prefix={prefix}"
        assert cli("copy", f"wal:{source.path}", url, "--create").code == Exit.DONE
        with RedisStore(redis_url, prefix=prefix) as dest:
            assert content(dest) == content(source)
            assert len(dest.find("7")) == 30
        assert cli("copy", url, f"wal:{tmp_path / 'back'}", "--create").code == Exit.DONE
        with WALStore(tmp_path / "back") as back:
            assert content(back) == content(source)

    def test_it_can_be_encrypted(self, cli, source, redis_url, prefix, monkeypatch):
        url = f"{redis_url}/0?prefix={prefix}"
        monkeypatch.setenv("LITESESS_NEW_ENCRYPTION_KEY", PASSPHRASE)
        assert cli("copy", f"wal:{source.path}", url, "--create").code == Exit.DONE
        with RedisStore(redis_url, prefix=prefix, encryption_key=PASSPHRASE) as dest:
            assert content(dest) == content(source)
        monkeypatch.setenv("LITESESS_NEW_ENCRYPTION_KEY", OTHER)
        assert cli("copy", f"wal:{source.path}", url).code == Exit.KEY

    def test_a_mistyped_prefix_makes_no_store(self, cli, source, redis_url):
        told = cli("copy", f"wal:{source.path}", f"{redis_url}/0?prefix=typo:")
        assert told.code == Exit.PATH
        assert "there is no store with that prefix" in told.err

    @pytest.mark.slow
    def test_a_site_moves_while_it_is_used_and_the_copying_is_killed(
        self, tmp_path, redis_url, prefix
    ):
        print("seed", SEED)
        number = 1500
        with WALStore(tmp_path / "old") as old:
            fill(old, number)
            new = RedisStore(redis_url, prefix=prefix)
            both = FallbackStore(new, old)
            both.load(key_of("0"))  # makes the new one
            expected: dict[int, dict[str, object] | None] = {
                each: {"n": each, "cart": [each]} for each in range(number)
            }
            keys = {each: key_of(str(each)) for each in range(number)}
            is_done = threading.Event()

            def use(mine: range, chance: random.Random) -> None:
                while not is_done.is_set():
                    each = chance.choice(mine)
                    data, what = expected[each], chance.random()
                    if data is None:
                        assert both.load(keys[each]) is None, "a session came back"
                    elif what < 0.6:
                        value = chance.random()
                        assert both.update(keys[each], {"x": value}, []), "a session was lost"
                        data["x"] = value
                    elif what < 0.8:
                        moved = key_of(f"{each} {chance.random()}")
                        assert both.rotate(keys[each], moved, {"r": 1}, []), "one was lost"
                        keys[each], data["r"] = moved, 1
                    else:
                        assert both.delete(keys[each])
                        expected[each] = None

            failures = []

            def guarded(*arguments) -> None:
                try:
                    use(*arguments)
                except BaseException as failure:
                    failures.append(failure)
                    raise

            users = [
                threading.Thread(
                    target=guarded, args=(range(first, number, 4), random.Random(SEED + first))
                )
                for first in range(4)
            ]
            for user in users:
                user.start()
            command = [
                sys.executable, "-m", "litesess", "copy", "--json",
                f"wal:{old.path}", f"{redis_url}/0?prefix={prefix}",
            ]  # fmt: skip
            try:
                for _ in range(3):  # killed in the midst of it
                    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
                        time.sleep(0.7)
                        process.send_signal(signal.SIGKILL)
                done = subprocess.run(command, capture_output=True, check=True, timeout=120)
            finally:
                is_done.set()
                for user in users:
                    user.join()
            assert not failures
            assert json.loads(done.stdout)["different"] == []
            assert any(data is None for data in expected.values())
            # From now on the new store is alone.
            assert {key: record.data for key, record in new.records()} == {
                keys[each]: data for each, data in expected.items() if data is not None
            }
            assert not any(DRAFT in record.data for _, record in new.records())
            new.close()
